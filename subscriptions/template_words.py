"""Sentences for what is wrong with a template of lists, and for what a core says."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .cores import Verdict
from .list_templates import Refused
from .skeletons import Problem

_SENTENCES: dict[str, str | Promise] = {
    "too_large": gettext_lazy("The text is larger than 256 KiB."),
    "empty": gettext_lazy("The text is empty."),
    "bad_yaml": gettext_lazy("This is not YAML."),
    "bad_json": gettext_lazy("This is not JSON."),
    "twice": gettext_lazy("A key occurs twice among these: {name}."),
    "not_understood": gettext_lazy("The text has a form that the panel does not understand."),
    "not_a_mapping": gettext_lazy("The whole text must be one configuration."),
    "not_a_list": gettext_lazy("{name} must be a list."),
    "not_an_entry": gettext_lazy("An entry of {name} is not a mapping."),
    "no_name": gettext_lazy("A name or a text is missing in {name}."),
    "no_place": gettext_lazy("There is no place for servers, like <servers>."),
    "bad_place": gettext_lazy("{name} is not a place for servers."),
    "bad_list": gettext_lazy("There is no list {name}."),
    "bad_pattern": gettext_lazy("{name} is not a regular expression, or it could take too long."),
    "slow": gettext_lazy("The patterns took too long for the names of a list."),
    "too_many_groups": gettext_lazy("There are more than 500 groups."),
    "too_long": gettext_lazy("The list becomes too long, because it repeats servers too often."),
    "bad_country": gettext_lazy("{name} does not name countries by their codes, like DE."),
    "unknown_source": gettext_lazy("There is no source “{name}”."),
    "same_name": gettext_lazy("Two have the same name: {name}."),
    "unknown_member": gettext_lazy("A group has a member that does not exist: {name}."),
    "empty_group": gettext_lazy("The group {name} has no members."),
    "circle": gettext_lazy("Groups are members of each other: {name}."),
    "unknown_target": gettext_lazy("A rule or a setting refers to what does not exist: {name}."),
    "unknown_rule_set": gettext_lazy("A rule refers to a rule set that does not exist: {name}."),
    "unknown_resolver": gettext_lazy(
        "A setting refers to a DNS server that does not exist: {name}."
    ),
    "no_direct": gettext_lazy("An outbound of type direct is missing."),
}
_VERDICTS: dict[str, str | Promise] = {
    "absent": gettext_lazy(
        "No core is installed here that could check the list; its form is right."
    ),
    "fine": gettext_lazy("{core} accepts the list."),
    "refused": gettext_lazy("{core} refuses the list: {says}"),
    "unjudged": gettext_lazy("The form is right, but {core} cannot check it here: {says}"),
}


def of_problem(problem: Problem) -> str:
    told = str(_SENTENCES[problem.code]).format(name=problem.name)
    if not problem.line:
        return told
    return _("Line {line}: {told}").format(line=problem.line, told=told)


def of_refusal(refused: Refused) -> str:
    return of_problem(refused.problem) if refused.problem else of_verdict(refused.verdict)


def of_verdict(verdict: Verdict) -> str:
    says = verdict.says or _("it took too long.")
    return str(_VERDICTS[verdict.state]).format(core=verdict.core, says=says)


def of_failure(code: str) -> str:
    """Why people get the built-in list. Codes of other versions and names of exceptions stay as they are."""
    return of_problem(Problem(code, "…")) if code in _SENTENCES else code
