"""Templates of lists: whether one may be saved, which one is in use, and that one fails."""

import logging
from collections.abc import Sequence

from django.db import DatabaseError
from django.utils import timezone

from . import cores, formats, links, skeletons
from .cores import Verdict
from .links import Node
from .models import Source, Template
from .skeletons import Problem, Server, Skeleton, SkeletonError

logger = logging.getLogger(__name__)
# One server of each kind, on addresses for documentation (RFC 5737): a core judges a template with these.
_EXAMPLES = (
    "vless://00000000-0000-4000-8000-000000000001@192.0.2.1:443?security=tls&type=ws&path=%2Fa&sni=a.example#DE 1",
    "vmess://00000000-0000-4000-8000-000000000001@192.0.2.2:443?type=tcp&encryption=auto#NL 2",
    "trojan://password@192.0.2.3:443?security=tls&sni=a.example#FI 3",
    "ss://chacha20-ietf-poly1305:password@192.0.2.4:8388#US 4",
    "hysteria2://password@192.0.2.5:443?sni=a.example#FR 5",
)


class Refused(ValueError):  # noqa: N818  an answer about a template
    """A template may not be saved: the problem, or the words of the core that refuses it."""

    def __init__(self, problem: Problem | None, verdict: Verdict = cores.ABSENT) -> None:
        self.problem = problem
        self.verdict = verdict
        super().__init__(problem.code if problem else verdict.says)


def check(format_name: str, text: str) -> Verdict:
    """What the real core says, which is not that it refuses. Raises Refused. Takes seconds, never in a transaction."""
    skeleton = checked(format_name, text)
    nodes = [links.parse(link) for link in _EXAMPLES]
    content, _ = skeleton.render(servers_of(format_name, nodes, skeleton))
    verdict = cores.verdict(format_name, content)
    if verdict.state == "refused":
        raise Refused(None, verdict)
    return verdict


def checked(format_name: str, text: str) -> Skeleton:
    """The skeleton, whose form is right and whose sources exist. Raises Refused."""
    try:
        skeleton = skeletons.read(format_name, text)
    except SkeletonError as error:
        raise Refused(error.problem) from None
    wanted = {name for place in skeleton.places for name in place.sources}
    if wanted:
        known = {name.casefold() for name in Source.objects.values_list("name", flat=True)}
        if unknown := sorted(wanted - known):
            raise Refused(Problem("unknown_source", unknown[0]))
    return skeleton


def servers_of(
    format_name: str, nodes: Sequence[Node], skeleton: Skeleton | None = None
) -> list[Server]:
    """The servers that the format can express, without their sources."""
    names = formats.unique_names(nodes, skeleton.reserved if skeleton else frozenset())
    writer = skeletons.writer(format_name)
    written = (
        (node, name, formats.text_of(node, name, writer))
        for node, name in zip(nodes, names, strict=True)
    )
    return [Server(name, text, node.protocol) for node, name, text in written if text is not None]


def use_alone(pk: int) -> None:
    """Switches off other templates of the format if this one is in use for everybody. Call it after saving."""
    template = Template.objects.filter(pk=pk, in_use=True, groups=None).first()
    if template is None:
        return
    others = Template.objects.filter(format=template.format, in_use=True, groups=None)
    if replaced := list(others.exclude(pk=pk).values_list("pk", flat=True)):
        Template.objects.filter(pk__in=replaced).update(in_use=False)


def note_failure(pk: int, code: str) -> None:
    """People get the built-in list; the operator is notified once, until the template is saved again."""
    logger.error("Template %d of lists fails: %s. The built-in list is served instead.", pk, code)
    try:
        Template.objects.filter(pk=pk, failed_at=None).update_quietly(
            failed_at=timezone.now(), failure=code[:32]
        )
    except DatabaseError:
        logger.warning("That template %d fails could not be stored.", pk)
