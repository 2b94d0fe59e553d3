"""The one registry of what an app adds to the panel."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin

from gateways import condition_words as of_gateways
from integrations.marzban import condition_words as of_marzban
from integrations.pulls import condition_words as of_pulls
from integrations.telegram import condition_words as of_telegram
from integrations.three_x_ui import condition_words as of_three_x_ui
from operations.admin.pages import admin_pages
from operations.events import Kind
from operations.extension import Extension, extensions, register
from operations.findings import Level
from operations.watch import conditions, doctor, words
from subscriptions import condition_words as of_subscriptions
from subscriptions import person_events as of_people
from traffic import condition_words as of_traffic

APPS = (
    "operations",
    "traffic",
    "subscriptions",
    "integrations/moving",
    "integrations/marzban",
    "integrations/three_x_ui",
    "integrations/pulls",
    "integrations/telegram",
    "gateways",
)
ROOT = Path(__file__).resolve().parents[2]
FINDERS = ("operations/watch/conditions.py", *(
    path for app in APPS[1:] if (ROOT / (path := f"{app}/conditions.py")).is_file()
))  # fmt: skip


def sources() -> Iterator[Path]:
    for app in APPS:
        yield from (path for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)


def names_called(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", ""))


def test_each_app_registers_once_in_its_config() -> None:
    calls = {
        str(path.relative_to(ROOT)): number
        for path in sources()
        if (number := Counter(names_called(path))["Extension"])
    }
    assert calls == {f"{app}/apps.py": 1 for app in APPS}
    assert [extension.name for extension in extensions()] == [Path(app).name for app in APPS]


def test_there_is_no_other_registry() -> None:
    words_of_old = ("also_", "unregister(Subscriber")
    assert [
        path for path in sources() if any(word in path.read_text() for word in words_of_old)
    ] == []


@pytest.mark.usefixtures("only_traffic")
def test_a_second_one_of_the_same_name_takes_the_place_of_the_first() -> None:
    register(Extension(name="x", path_words=frozenset({"a"})))
    register(Extension(name="x", path_words=frozenset({"b"})))
    assert [found.path_words for found in extensions() if found.name == "x"] == [frozenset({"b"})]


def test_nothing_below_names_a_model_a_setting_or_a_table_of_an_app_above() -> None:
    above = (
        "traffic.",
        "traffic_",
        "subscriptions.",
        "subscriptions_",
        "XPERT_TRAFFIC",
        "XPERT_HITS",
    )
    known = {
        # Names of commands that people run, and the guide's name for the database.
        "operations/backups/copying.py",
            "operations/databases/sqlite.py",
    }  # fmt: skip
    found = {
        (str(path.relative_to(ROOT)), node.value)
        for path in sources()
        if path.parts[len(ROOT.parts)] == "operations"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.startswith(above) and " " not in node.value
    }
    assert {place for place in found if place[0] not in known} == set()


def _codes(part: ast.AST) -> Iterator[ast.expr]:
    """Where a code stands: in a ``Condition``, in a call of ``_found`` or ``_each_or_together``, or in a variable ``code``."""
    match part:
        case ast.Call(func=ast.Name("Condition"), keywords=keywords):
            yield from (keyword.value for keyword in keywords if keyword.arg == "code")
        case ast.Call(func=ast.Name("_found"), args=[_, code, *_]):
            yield code
        case ast.Call(func=ast.Name("_each_or_together"), args=[_, *codes]):
            yield from codes
        case ast.Assign(targets=[ast.Name("code")], value=value):
            yield value


class TestConditions:
    """Every condition has words, and all words belong to a condition."""

    WORDS = {
        **words.WORDS,
        **of_traffic.WORDS,
        **of_subscriptions.WORDS,
        **of_marzban.WORDS,
        **of_pulls.WORDS,
        **of_three_x_ui.WORDS,
        **of_telegram.WORDS,
        **of_gateways.WORDS,
    }
    KINDS: tuple[Kind, ...] = (
        *words.KINDS,
        *of_traffic.KINDS,
        *of_subscriptions.KINDS,
        *of_people.KINDS,
        *of_marzban.KINDS,
        *of_pulls.KINDS,
        *of_gateways.KINDS,
    )

    def codes_found(self) -> set[str]:
        """The codes in the modules that find conditions."""
        return {
            node.value
            for module in FINDERS
            for part in ast.walk(ast.parse((ROOT / module).read_text()))
            for expression in _codes(part)
            for node in ast.walk(expression)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }

    def test_every_code_has_words_or_is_told(self) -> None:
        told = {code for kind in self.KINDS for code in kind.texts}
        # Only gauges and the card use these.
        assert self.codes_found() - set(self.WORDS) - told == {"source", "gateway"}

    def test_no_words_are_left_over(self) -> None:
        told = {code for kind in self.KINDS for code in kind.texts}
        assert (set(self.WORDS) | told) - self.codes_found() == set()

    def test_names_of_events_are_few_and_fit_their_column(self) -> None:
        names = [kind.name for kind in self.KINDS]
        assert sorted(names) == [
            "disk", "expired", "expiring", "gateway", "implausible", "limit100", "limit80", "panel-silent",
            "people-lapsed", "people-unknown", "person-expired", "person-expiring", "person-limit100",
            "person-limit80", "pull-failing", "reporter-problem", "reporter-silent", "reseller100", "reseller80", "server-down",
            "server-limit100", "server-limit80", "server-silent", "server-up", "source-failing", "source-quota",
            "template-failing",
        ]  # fmt: skip
        assert all(len(name) <= 32 for name in names)

    def test_nothing_decides_by_a_translated_word(self) -> None:
        assert len(FINDERS) >= 4
        assert [name for name in FINDERS if "gettext" in (ROOT / name).read_text()] == []

    @pytest.mark.django_db
    def test_the_quick_ones_are_among_all(self) -> None:
        from django.utils import timezone  # noqa: PLC0415

        now = timezone.now()
        every = {found.code for found in conditions.everything(now)}
        assert {found.code for found in conditions.quick(now)} <= every
        lines = doctor.lines(conditions.everything(now))
        assert max(line.level for line in lines) in Level


class TestAdmin:
    def test_no_admin_class_has_more_than_two_bases_of_ours(self) -> None:
        registered = admin.site._registry.values()
        towers = {
            type(found).__name__: [
                base.__name__
                for base in type(found).__mro__[1:]
                if base.__module__.partition(".")[0] in APPS
            ]
            for found in registered
            if type(found).__module__.partition(".")[0] in APPS
        }
        assert {name: bases for name, bases in towers.items() if len(bases) > 2} == {}
        assert "SubscriberAdmin" in towers

    def test_an_app_adds_to_the_pages_of_another_by_its_extension(self) -> None:
        subscriptions, moving = admin_pages("traffic.subscriber")
        assert (len(subscriptions.top), len(subscriptions.panels)) == (1, 3)
        assert list(moving.list_pages) == list(moving.adding) == ["move_in"]
        assert admin_pages("traffic.plan") == []
