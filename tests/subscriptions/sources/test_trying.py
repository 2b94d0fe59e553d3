import pytest
from pytest_django import Settings

from operations.outbound.exchange import Limits
from subscriptions.models import Node, Source
from subscriptions.sources import source_lists, trying
from tests.subscriptions.examples import A, B, C
from tests.subscriptions.hostile import Behaviour, InternetInThread, answer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_http(settings: Settings) -> None:
    settings.XPERT_SOURCES_ALLOW = ["http"]


def tried(internet: InternetInThread, behaviour: Behaviour, **rules: object) -> trying.Trial:
    internet.serve("provider.example", behaviour)
    source = Source(name="New", url="http://provider.example/sub", **rules)
    return trying.try_out(source, Limits(connect=20, gap=20, total=20), internet.network)


def test_it_tells_what_is_taken_renamed_dropped_and_not_read(internet: InternetInThread) -> None:
    body = "\n".join([A, B, C, A, "vless://nonsense"]).encode()
    trial = tried(internet, answer(body), drop="c", rename="^A$ => Alpha")
    assert trial.error == ""
    assert [(row.name, row.new_name, row.code) for row in trial.rows] == [
        ("A", "Alpha", ""),
        ("B", "B", ""),
        ("C", "", "dropped"),
        ("", "", "missing_id"),
        ("A", "", "duplicate"),
    ]
    assert [row.is_renamed for row in trial.rows[:2]] == [True, False]
    assert trial.rows[0].server == "trojan a.example:1"


def test_it_changes_nothing(internet: InternetInThread) -> None:
    tried(internet, answer(A.encode()))
    assert not Source.objects.exists()
    assert not Node.objects.exists()


def test_an_entry_that_cannot_be_read_has_its_name(internet: InternetInThread) -> None:
    body = b"proxies:\n  - {name: Odd, type: snell}\n"
    trial = tried(internet, answer(body))
    assert trial.error == "no_nodes"
    assert [(row.name, row.code) for row in trial.rows] == [("Odd", "unsupported")]


@pytest.mark.parametrize(
    ("body", "code"), [(b"<html>", "html"), (b"", "empty"), (b"[]", "json"), (A.encode(), "nothing_taken")]
)  # fmt: skip
def test_a_source_that_gives_nothing_says_why(
    internet: InternetInThread, body: bytes, code: str
) -> None:
    assert tried(internet, answer(body), keep="nobody").error == code


def test_a_server_that_fails_is_reported(internet: InternetInThread) -> None:
    assert tried(internet, answer(b"", "404 Not Found")).error == "http_404"


def test_every_row_of_a_long_list_is_told(internet: InternetInThread) -> None:
    body = "\n".join([A] * source_lists.MAX_LINES).encode()
    assert len(tried(internet, answer(body)).rows) == source_lists.MAX_LINES
