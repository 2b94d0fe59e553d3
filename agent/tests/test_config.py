from __future__ import annotations

import logging
from pathlib import Path

import pytest

from xpert_agent.config import ConfigError, read_config
from xpert_agent.growth import COUNT_EVERYTHING
from xpert_agent.mapping import SourceMap

GOOD = """
[panel]
url = https://panel.example.com
key_file = key

[source gateway]
kind = singbox
url = http://127.0.0.1:9095
secret_file = core-secret
servers =
    srv-a -> a.example.com:443/vless
    Tag = with -> arrow -> Server B
people =
    3x5K7Q= -> alice
person = bob
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("key", "k3y-of-the-operator\n"), ("core-secret", "s3cret\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "url").write_text("https://panel.example.com/x/api/xpert/sub?user_token=al%2Bice\n")
    (tmp_path / "url").chmod(0o600)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.ini"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_good_file_is_read(folder: Path) -> None:
    settings = read_config(written(folder, GOOD))
    assert (settings.panel.url, settings.panel.key) == (
        "https://panel.example.com",
        "k3y-of-the-operator",
    )
    assert settings.state == folder / "agent-state"
    source = settings.sources[0]
    assert (source.name, source.kind, source.since) == ("gateway", "singbox", None)
    assert source.options == {
        "url": "http://127.0.0.1:9095",
        "secret": "s3cret",
        "server_by": "outbound",
    }
    assert source.map == SourceMap(
        servers={"srv-a": "a.example.com:443/vless", "Tag = with -> arrow": "Server B"},
        people={"3x5K7Q=": "alice"},
        person="bob",
    )


def test_a_subscription_tells_panel_and_person(folder: Path) -> None:
    text = "[panel]\nsubscription_file = url\n[source core]\nkind = singbox\n"
    settings = read_config(written(folder, text))
    assert (settings.panel.url, settings.panel.token) == ("https://panel.example.com/x", "al+ice")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("kind = singbox", "kind = sing"), "[source gateway]: There is no kind of source “sing”"),
        (("kind = singbox\n", ""), "[source gateway] needs the option “kind”."),
        (
            ("person = bob", "persom = bob"),
            "[source gateway]: “persom” is not an option of singbox",
        ),
        (("[panel]", "[pannel]"), "[pannel] is not a section"),
        (("url = https", "uri = https"), "[panel]: “uri” is not an option"),
        (
            ("https://panel", "http://panel"),
            "[panel]: http://panel.example.com would send keys and subscriptions readable",
        ),
        (
            ("https://panel", "panel"),
            "[panel]: “panel.exampl…” is not the https:// address of a panel.",
        ),
        (("key_file = key\n", ""), "[panel] needs key_file"),
        (("key_file = key", "key_file = nowhere"), "[panel]: nowhere cannot be read"),
        (
            ("srv-a -> a.example.com:443/vless", "srv-a a.example.com:443/vless"),
            "each line of servers is “name -> name”",
        ),
        (
            ("a.example.com:443/vless", "a.example.com/vless"),
            "“a.example.com/vless” is not host:port/protocol",
        ),
        (
            ("person = bob", "count_existing = perhaps"),
            "[source gateway]: count_existing is yes or no",
        ),
        (
            ("[source gateway]", "[agent]\ninterval = 5\n[source gateway]"),
            "[agent]: interval is 10 to 3600 seconds",
        ),
        (("[panel]\n", "panel\n"), "cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(folder: Path, change: tuple[str, str], sentence: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(ConfigError) as mistake:
        read_config(written(folder, GOOD.replace(*change)))
    assert sentence in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_existing_counters_count_if_the_operator_says_so(folder: Path) -> None:
    text = GOOD.replace("person = bob", "count_existing = yes")
    assert read_config(written(folder, text)).sources[0].since == COUNT_EVERYTHING


def test_nothing_to_read_is_a_mistake(folder: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to read"):
        read_config(
            written(folder, "[panel]\nurl = https://panel.example.com\nkey = k3y-of-the-operator\n")
        )


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_a_secret_that_others_can_read_is_used_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    (folder / "core-secret").chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert read_config(written(folder, GOOD)).sources[0].options["secret"] == "s3cret"
    assert ("Others can read" in caplog.text) == warned


def test_plain_http_is_allowed_to_loopback_and_where_it_is_allowed(folder: Path) -> None:
    for url in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"):
        assert (
            read_config(written(folder, GOOD.replace("https://panel.example.com", url))).panel.url
            == url
        )
    allowed = GOOD.replace("https://", "http://").replace("[panel]", "[panel]\nallow_http = yes")
    assert read_config(written(folder, allowed)).panel.url == "http://panel.example.com"


def test_the_example_of_the_docs_is_accepted(folder: Path) -> None:
    text = (
        (Path(__file__).parents[2] / "docs" / "agent.md")
        .read_text()
        .split("```ini\n")[1]
        .split("```")[0]
    )
    for name in ("panel.key", "sing-box.secret"):
        (folder / name).write_text("s3cret")
        (folder / name).chmod(0o600)
    settings = read_config(written(folder, text))
    assert settings.panel.key == "s3cret"
    assert len(settings.sources[0].map.servers) == 2
