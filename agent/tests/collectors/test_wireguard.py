from __future__ import annotations

import socket
from pathlib import Path

import pytest

from xpert_agent.sources import wireguard
from xpert_agent.sources.base import Counter, Endpoint, SourceError
from xpert_agent.sources.tally import THIS_SERVER
from xpert_agent.sources.wireguard import parse_endpoints, parse_transfer

from .fakes import Journal, MemoryStore, booked, opened

ALICE = "aLiCe0000000000000000000000000000000000000="
BOB = "bOb000000000000000000000000000000000000000="
REMOTE = "vpn.example.com:51820"

PROGRAM = """#!/bin/sh
echo "$@" >> "{folder}/asked"
[ "$1 $2" = "show lo" ] || {{ echo "Unable to access interface: No such device" >&2; exit 1; }}
cat "{folder}/$3"
"""


class Tool:
    """A `wg` or `awg` that prints what a test writes, in the place of the real one."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        program = folder / name
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o755)
        self.prints("endpoints")

    def prints(self, what: str, *rows: tuple[object, ...]) -> None:
        text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (self._folder / what).write_text(text)

    def asked(self) -> set[str]:
        return set((self._folder / "asked").read_text().splitlines())


@pytest.fixture(params=["wg", "awg"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return Tool(tmp_path, request.param)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return {"wg": "wireguard", "awg": "amneziawg"}[request.node.callspec.params["tool"]]


def test_on_a_server_a_peer_is_a_person_and_received_is_upload(
    tool: Tool, kind: str, journal: Journal
) -> None:
    source = opened(kind, interface="lo")
    tool.prints("transfer", (ALICE, 100, 100), (BOB, 0, 0))
    journal.read(source)
    tool.prints("transfer", (ALICE, 110, 170), (BOB, 0, 0))
    sums = journal.read(source)
    assert sums == {(ALICE, THIS_SERVER): (10, 70)}


def test_on_a_client_a_peer_is_the_server_and_received_is_download(
    tool: Tool, kind: str, journal: Journal
) -> None:
    source = opened(kind, interface="lo", role="client")
    tool.prints("transfer", (ALICE, 100, 100), (BOB, 100, 100))
    tool.prints("endpoints", (ALICE, "203.0.113.5:51820"), (BOB, "[2001:db8::1]:443"))
    journal.read(source)
    tool.prints("transfer", (ALICE, 170, 110), (BOB, 101, 102))
    sums = journal.read(source)
    first, second = "203.0.113.5:51820", "[2001:db8::1]:443"
    assert sums == {("", first): (10, 70), ("", second): (2, 1)}
    assert source.read().endpoints[second] == Endpoint("2001:db8::1", 443, kind)


def test_a_client_whose_server_moved_counts_growth_for_the_new_address(
    tool: Tool, kind: str, journal: Journal
) -> None:
    source = opened(kind, interface="lo", role="client")
    tool.prints("transfer", (ALICE, 100, 100))
    tool.prints("endpoints", (ALICE, "203.0.113.5:51820"))
    journal.read(source)
    tool.prints("transfer", (ALICE, 107, 103))
    tool.prints("endpoints", (ALICE, "203.0.113.6:51820"))
    assert journal.read(source) == {("", "203.0.113.6:51820"): (3, 7)}


def test_a_client_may_name_its_server(tool: Tool, kind: str, journal: Journal) -> None:
    source = opened(kind, interface="lo", role="client", remote=REMOTE)
    tool.prints("transfer", (ALICE, 0, 0))
    journal.read(source)
    tool.prints("transfer", (ALICE, 70, 10))
    assert journal.read(source) == {("", REMOTE): (10, 70)}
    assert source.read().endpoints == {REMOTE: Endpoint("vpn.example.com", 51820, kind)}


def test_a_peer_that_was_never_heard_of_has_its_key_for_a_name(tool: Tool, kind: str) -> None:
    tool.prints("transfer", (ALICE, 0, 148))
    tool.prints("endpoints", (ALICE, "(none)"))
    reading = opened(kind, interface="lo", role="client").read()
    assert booked(reading) == {("", ALICE): (148, 0)}
    assert reading.endpoints == {}


def test_keys_are_never_asked_for(tool: Tool, kind: str) -> None:
    tool.prints("transfer", (ALICE, 1, 1))
    opened(kind, interface="lo", role="client").read()
    assert tool.asked() == {"show lo transfer", "show lo endpoints"}


def test_an_interface_that_was_made_again_counts_whole(
    tool: Tool, kind: str, monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    source = opened(kind, interface="lo")
    tool.prints("transfer", (ALICE, 100, 100))
    journal.read(source)
    monkeypatch.setattr(socket, "if_nametoindex", lambda _: 77)
    tool.prints("transfer", (ALICE, 150, 150))
    assert journal.read(source) == {(ALICE, THIS_SERVER): (150, 150)}


def test_a_reboot_counts_whole_even_with_the_same_index(
    tool: Tool,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store: MemoryStore,
    journal: Journal,
) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(wireguard, "_BOOT_ID", boot)
    for boot_id, value in (("first", 100), ("second", 150)):
        boot.write_text(boot_id)
        tool.prints("transfer", (ALICE, value, value))
        sums = journal.read(opened(kind, store, interface="lo"))
    assert sums == {(ALICE, THIS_SERVER): (150, 150)}


def test_a_peer_that_is_removed_and_added_counts_whole(
    tool: Tool, kind: str, journal: Journal
) -> None:
    source = opened(kind, interface="lo")
    tool.prints("transfer", (ALICE, 100, 100), (BOB, 100, 100))
    journal.read(source)
    tool.prints("transfer", (BOB, 100, 100))
    journal.read(source)
    tool.prints("transfer", (ALICE, 120, 120), (BOB, 100, 100))
    assert journal.read(source) == {(ALICE, THIS_SERVER): (120, 120)}


def test_an_interface_that_is_down_is_one_sentence(tool: Tool, kind: str) -> None:
    program = {"wireguard": "wg", "amneziawg": "awg"}[kind]
    complaint = f"“{program}” failed: Unable to access interface: No such device."
    with pytest.raises(SourceError, match=complaint):
        opened(kind, interface="absent").read()


def test_a_program_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match="The program “awg” is not installed"):
        opened("amneziawg", interface="lo").read()


@pytest.mark.parametrize("options", [{"role": "gateway"}, {"remote": "a:b"}])
def test_a_bad_option_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(SourceError):
        opened("wireguard", None, **options)


def test_columns_are_read_as_the_manual_page_says() -> None:
    assert parse_transfer(f"{ALICE}\t514\t4017\n") == {ALICE: Counter(514, 4017)}
    assert parse_endpoints(f"{ALICE}\t(none)\n") == {}
    with pytest.raises(SourceError):
        parse_transfer("wg0\tprivate\tpublic\t51820\toff\n")
