from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from waiting import eventually

from xpert_agent.sources.base import Counter, Endpoint, SourceError
from xpert_agent.sources.openvpn import parse_disconnect, parse_state
from xpert_agent.sources.openvpn_status import parse_status
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import START, Journal, MemoryStore, booked, opened

NOW = int(START)
V2_HEADER = (
    "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,"
    "Bytes Received,Bytes Sent,Connected Since,Connected Since (time_t),Username,Client ID,"
    "Peer ID,Data Channel Cipher"
)
V2_3_HEADER = (  # OpenVPN 2.3
    "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Bytes Received,Bytes Sent,"
    "Connected Since,Connected Since (time_t),Username"
)
CLIENT = """\
OpenVPN STATISTICS
Updated,2026-11-29 15:27:04
TUN/TAP read bytes,48
TUN/TAP write bytes,48
TCP/UDP read bytes,{down}
TCP/UDP write bytes,{up}
Auth read bytes,64
END
"""


def row(name: str, up: int, down: int, cid: int = 0, since: int = NOW, user: str = "UNDEF") -> str:
    written = "2026-11-28 17:23:57"
    return (
        f"CLIENT_LIST,{name},198.51.100.7:{5000 + cid},10.99.0.6,,{up},{down},{written},{since},"
        f"{user},{cid},1,AES-256-GCM"
    )


def version_2(*rows: str, dco: int = 0) -> str:
    lines = [
        "TITLE,OpenVPN 2.6.14",
        f"TIME,2026-11-28 17:23:57,{NOW}",
        V2_HEADER,
        *rows,
        "HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)",
        f"ROUTING_TABLE,10.99.0.6,alice,198.51.100.7:5000,2026-11-28 17:23:57,{NOW}",
        "GLOBAL_STATS,Max bcast/mcast queue length,1",
        f"GLOBAL_STATS,dco_enabled,{dco}",
        "END",
    ]
    return "\n".join(lines) + "\n"


def version_1(*rows: tuple[str, int, int, int], form: str = "%Y-%m-%d %H:%M:%S") -> str:
    lines = ["OpenVPN CLIENT LIST", "Updated,2026-11-29 15:27:15"]
    lines.append("Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since")
    for name, up, down, since in rows:
        written = time.strftime(form, time.localtime(since))
        lines.append(f"{name},198.51.100.7:5000,{up},{down},{written}")
    lines += ["ROUTING TABLE", "Virtual Address,Common Name,Real Address,Last Ref"]
    lines += ["10.99.0.2,alice,198.51.100.7:5000,2026-11-29 15:27:00", "GLOBAL STATS"]
    lines += ["Max bcast/mcast queue length,1", "END"]
    return "\n".join(lines) + "\n"


class Files:
    """OpenVPN's status file, and the file that its client-disconnect script appends to."""

    def __init__(self, folder: Path) -> None:
        self.status = folder / "status"
        self.disconnects = folder / "disconnects"
        self.options = {"status": str(self.status), "disconnects": str(self.disconnects)}
        self.tell()

    def tell(self, *rows: str) -> None:
        self.status.write_text(version_2(*rows))

    def disconnect(self, up: int, down: int, cid: int = 0, since: int = NOW) -> None:
        with self.disconnects.open("a") as file:
            file.write(f"{since}\t{up}\t{down}\t198.51.100.7\t{5000 + cid}\t\talice\n")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


ALICE = ("alice", THIS_SERVER)


def test_versions_1_2_and_3_say_the_same() -> None:
    second = version_2(row("alice", 1904, 1940))
    three = parse_status(second.replace(",", "\t"))
    two = parse_status(second)
    one = parse_status(version_1(("alice", 1904, 1940, NOW)))
    assert two == three
    for status in (one, two):
        (session,) = status.sessions
        assert (session.person, session.counter, session.since) == (
            "alice",
            Counter(up=1904, down=1940),
            NOW,
        )


def test_columns_are_read_by_their_names_because_old_versions_have_fewer() -> None:
    old_row = f"CLIENT_LIST,alice,198.51.100.7:5000,10.99.0.6,5,7,whenever,{NOW},UNDEF"
    status = parse_status(f"TITLE,OpenVPN 2.3\n{V2_3_HEADER}\n{old_row}\nEND\n")
    assert status.sessions[0].counter == (5, 7)
    form = "%a %b %d %H:%M:%S %Y"
    assert parse_status(version_1(("a", 1, 1, NOW), form=form)).sessions[0].since == NOW


def test_a_user_name_is_who_somebody_is_else_the_certificates_name() -> None:
    status = parse_status(
        version_2(
            row("alice", 1, 1, user="a.smith"), row("UNDEF", 1, 1), row("UNDEF", 1, 1, user="b")
        )
    )
    assert [session.person for session in status.sessions] == ["a.smith", "", "b"]


def test_received_is_upload_and_sessions_are_summed_per_person(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.tell(row("alice", 100, 1000), row("alice", 5, 50, cid=1), row("bob", 7, 70, cid=2))
    assert journal.read(source) == {ALICE: (105, 1050), ("bob", THIS_SERVER): (7, 70)}


def test_a_new_session_of_the_same_person_counts_whole_although_it_has_passed_the_old_one(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.tell(row("alice", 100, 1000))
    journal.read(source)
    files.tell(row("alice", 150, 1500, cid=1, since=NOW + 60))
    assert journal.read(source) == {ALICE: (250, 2500)}


def test_sessions_that_were_there_first_are_a_baseline(files: Files, journal: Journal) -> None:
    source = opened("openvpn", None, **files.options)
    files.tell(row("alice", 100, 1000))
    journal.read(source)
    files.tell(row("alice", 101, 1001))
    assert journal.read(source) == {ALICE: (1, 1)}


def test_the_script_tells_the_last_bytes_of_a_session(files: Files, journal: Journal) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.tell(row("alice", 100, 1000))
    journal.read(source)
    files.disconnect(130, 1300)
    files.tell()
    assert journal.read(source) == {ALICE: (130, 1300)}


def test_a_session_that_came_and_went_between_two_readings_counts(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.disconnect(130, 1300)
    assert journal.read(source) == {ALICE: (130, 1300)}


def test_a_status_that_is_older_than_the_disconnect_does_not_count_the_session_again(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.tell(row("alice", 100, 1000))
    files.disconnect(130, 1300)
    for _ in range(2):
        assert journal.read(source) == {ALICE: (130, 1300)}


def test_of_two_sessions_with_one_certificate_the_right_one_ends(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.tell(row("alice", 100, 1000), row("alice", 500, 5000, cid=1))
    journal.read(source)
    files.disconnect(510, 5100, cid=1)
    files.tell(row("alice", 101, 1001))
    assert journal.read(source) == {ALICE: (101 + 510, 1001 + 5100)}


def test_a_line_is_booked_once_over_kills_and_while_openvpn_is_down(
    files: Files, store: MemoryStore, journal: Journal
) -> None:
    journal.read(opened("openvpn", store, **files.options))
    files.status.unlink()
    files.disconnect(10, 10)
    for _ in range(2):
        with pytest.raises(SourceError, match="cannot be read"):
            opened("openvpn", store, **files.options).read()
    files.tell()
    assert journal.read(opened("openvpn", store, **files.options)) == {ALICE: (10, 10)}


def test_a_line_that_is_being_written_waits_for_its_end(files: Files, journal: Journal) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.disconnect(10, 10)
    whole = files.disconnects.read_text()
    files.disconnects.write_text(whole + whole[:20])
    assert journal.read(source) == {ALICE: (10, 10)}
    files.disconnects.write_text(whole + whole.replace(f"{NOW}", f"{NOW + 9}"))
    assert journal.read(source) == {ALICE: (20, 20)}


def test_a_file_that_somebody_else_has_renewed_or_emptied_is_read_from_its_start(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.disconnect(1, 1)
    journal.read(source)
    files.disconnects.rename(files.disconnects.with_suffix(".1"))
    for number in (1, 2, 3):
        files.disconnect(1, 1, since=NOW + number)
    assert journal.read(source) == {ALICE: (4, 4)}
    files.disconnects.write_text("")
    journal.read(source)
    files.disconnect(1, 1, since=NOW + 4)
    assert journal.read(source) == {ALICE: (5, 5)}


def test_a_long_file_is_renewed_without_losing_what_a_script_still_appends(
    files: Files, store: MemoryStore, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.spool.MAX_BYTES", 10)
    source = opened("openvpn", store, **files.options)
    journal.read(source)
    files.disconnect(1, 1)
    files.disconnects.chmod(0o622)
    with files.disconnects.open("a") as late:
        assert journal.read(source) == {ALICE: (1, 1)}
        assert files.disconnects.stat().st_size == 0
        assert files.disconnects.stat().st_mode & 0o777 == 0o622
        late.write(f"{NOW + 1}\t2\t2\t198.51.100.7\t1\t\talice\n")
    files.disconnect(4, 4, since=NOW + 2)
    assert journal.read(source) == {ALICE: (7, 7)}
    assert journal.read(opened("openvpn", store, **files.options)) == {ALICE: (7, 7)}
    assert not Path(f"{files.disconnects}.old").exists()


def test_a_check_that_keeps_nothing_does_not_renew_the_file(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(MemoryStore):
        def load(self) -> dict[str, object]:
            return {}

    monkeypatch.setattr("xpert_agent.sources.spool.MAX_BYTES", 10)
    files.disconnect(1, 1)
    opened("openvpn", Forgetful(), **files.options).read()
    assert files.disconnects.stat().st_size > 10


def test_a_roaming_client_is_the_same_session_in_version_1(files: Files, journal: Journal) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.status.write_text(version_1(("alice", 100, 100, NOW)))
    journal.read(source)
    moved = version_1(("alice", 110, 110, NOW)).replace("198.51.100.7:5000", "203.0.113.9:7")
    files.status.write_text(moved)
    assert journal.read(source) == {ALICE: (110, 110)}


def test_in_version_1_sessions_of_the_same_second_are_never_counted_twice(
    files: Files, journal: Journal
) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    for rows in (((100,), (50,)), ((110,),), ((120,),)):
        told = [("alice", value, value, NOW) for (value,) in rows]
        files.status.write_text(version_1(*told))
        sums = journal.read(source)
    assert sums == {ALICE: (150 + 10, 150 + 10)}


def test_another_version_of_the_status_makes_no_session_new(files: Files, journal: Journal) -> None:
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.status.write_text(version_1(("alice", 100, 100, NOW)))
    journal.read(source)
    files.tell(row("alice", 110, 110))
    journal.read(source)
    files.tell(row("alice", 115, 115))
    assert journal.read(source) == {ALICE: (105, 105)}


def test_sessions_are_forgotten_after_a_day(
    files: Files, store: MemoryStore, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened("openvpn", store, **files.options)
    files.tell(row("alice", 1, 1))
    journal.read(source)
    files.tell()
    later = time.time() + 86_401
    monkeypatch.setattr(source._tally, "clock", lambda: later)  # type: ignore[attr-defined]
    journal.read(source)
    assert not [name for name in store.load() if name.startswith("mark ")]
    assert store.load()["note sessions"] == {}


def test_a_client_tells_its_own_tunnel(files: Files, journal: Journal) -> None:
    source = opened("openvpn", status=str(files.status))
    files.status.write_text(CLIENT.format(up=100, down=1000))
    journal.read(source)
    files.status.write_text(CLIENT.format(up=107, down=1070))
    assert journal.read(source) == {("", THIS_SERVER): (7, 70)}
    source = opened("openvpn", status=str(files.status), remote="vpn.example.com:1194")
    remote = Endpoint("vpn.example.com", 1194, "openvpn")
    assert source.read().endpoints == {"vpn.example.com:1194": remote}


def test_a_file_that_cannot_be_renewed_is_told_and_everything_is_counted(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.spool.MAX_BYTES", 10)
    source = opened("openvpn", None, **files.options)
    journal.read(source)
    files.disconnect(3, 4)

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.chown", forbidden)
    reading = source.read()
    assert journal.take(reading) == {ALICE: (3, 4)}
    assert reading.problems == (f"{files.disconnects} cannot be renewed: Permission denied.",)


def test_a_disconnects_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.disconnects.mkdir()
    with pytest.raises(SourceError, match="disconnects cannot be read"):
        opened("openvpn", None, **files.options).read()


def test_a_file_that_nobody_writes_any_more_is_told(files: Files) -> None:
    os.utime(files.status, (time.time() - 601, time.time() - 601))
    (problem,) = opened("openvpn", None, **files.options).read().problems
    assert "was last written 601 s ago" in problem


def test_offload_that_counts_nothing_is_told() -> None:
    assert parse_status(version_2(row("a", 1, 1), dco=1)).problems == []
    assert "disable-dco" in parse_status(version_2(row("a", 0, 0), dco=1)).problems[0]


def test_a_name_with_a_comma_is_told_and_the_rest_is_read() -> None:
    status = parse_status(version_2(row("Smith, Alice", 1, 1), row("bob", 2, 2)))
    assert [session.person for session in status.sessions] == ["bob"]
    assert "status-version 3" in status.problems[0]
    three = version_2(row("Smith| Alice", 1, 1)).replace(",", "\t").replace("|", ",")
    assert parse_status(three).sessions[0].person == "Smith, Alice"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "END\n",
        version_2(row("alice", 1, 1))[:-5],
        "OpenVPN STATISTICS\nTCP/UDP read bytes,5\nEND\n",
        version_2(row("alice", 1, 1)).replace(",1,1,", ",x,1,"),
        version_2().replace("CLIENT_LIST", "LIST"),
        "OpenVPN CLIENT LIST\nEND\n",
        "<html>\nEND\n",
    ],
)
def test_what_is_not_a_whole_status_is_an_error(text: str) -> None:
    with pytest.raises(SourceError):
        parse_status(text)


def test_a_file_that_is_being_written_is_read_again(files: Files) -> None:
    whole = files.status.read_text()
    files.status.write_text(whole[:50])

    def finish() -> None:
        time.sleep(0.05)
        files.status.write_text(whole)

    thread = Thread(target=finish)
    thread.start()
    assert booked(opened("openvpn", status=str(files.status)).read()) == {}
    thread.join()


@pytest.mark.parametrize(
    "line", ["", "a\tb", f"{NOW}\tx\t1\t198.51.100.7\t1\t\talice", f"{NOW}\t1\t1\t1\t1\t1\t1\t1"]
)
def test_a_line_of_another_shape_is_passed_by(line: str) -> None:
    assert parse_disconnect(line) is None


def test_the_state_names_the_servers_address_while_connected() -> None:
    connected = "1795966020,CONNECTED,SUCCESS,10.99.0.2,203.0.113.5,1194,,\nEND"
    assert parse_state(connected) == "203.0.113.5:1194"
    assert parse_state(connected.replace("203.0.113.5", "2001:db8::1")) == "[2001:db8::1]:1194"
    assert parse_state("1795966020,RECONNECTING,ping-restart,,,,,\nEND") == ""
    assert parse_state("END") == ""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"status": "/a", "management": "127.0.0.1:7505"},
        {"management": "7505"},
        {"status": "/a", "remote": "vpn.example.com"},
    ],
)
def test_a_bad_option_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(SourceError):
        opened("openvpn", None, **options)


class Management:
    """A management interface that serves one client after the other from a script."""

    def __init__(self) -> None:
        self.answers = {
            "status 3": version_2(row("alice", 1, 1)).replace(",", "\t").replace("\n", "\r\n"),
            "state": "1795966019,CONNECTED,SUCCESS,10.99.0.1,,,,\r\nEND\r\n",
            "pid": "SUCCESS: pid=77\r\n",
            "bytecount 0": "SUCCESS: bytecount interval changed\r\n",
            "bytecount 1": "SUCCESS: bytecount interval changed\r\n",
        }
        self.hangs_up = False
        self.password = ""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.asked: list[str] = []
        Thread(target=self.serve, daemon=True).start()

    def bytecount(self, *, down: int, up: int) -> None:
        """What a client tells from now on."""
        told = "SUCCESS: bytecount interval changed\r\n"
        self.answers["bytecount 1"] = f"{told}>BYTECOUNT:{down},{up}\r\n"

    def serve(self) -> None:
        try:
            while True:
                with self.listening.accept()[0] as connection:
                    self._talk(connection)
        except OSError:
            return

    def _talk(self, connection: socket.socket) -> None:
        file = connection.makefile("rw", encoding="utf-8", newline="")
        with file:
            if self.password:
                file.write("ENTER PASSWORD:")
                file.flush()
                right = file.readline().strip() == self.password
                file.write(
                    "SUCCESS: password is correct\r\n" if right else "ERROR: bad password\r\n"
                )
                if not right:
                    return
            file.write(">INFO:OpenVPN Management Interface Version 5 -- type 'help'\r\n")
            file.flush()
            for line in iter(file.readline, ""):
                self.asked.append(line.strip())
                if line.strip() == "quit" or self.hangs_up:
                    return
                file.write(">BYTECOUNT_CLI:0,1,2\r\n" + self.answers[line.strip()])
                file.flush()


@pytest.fixture
def management() -> Iterator[Management]:
    running = Management()
    yield running
    running.listening.close()


def test_management_is_asked_and_left_and_news_between_is_no_answer(
    management: Management, journal: Journal
) -> None:
    source = opened("openvpn", management=management.address)
    journal.read(source)
    management.answers["status 3"] = version_2(row("alice", 3, 5)).replace(",", "\t")
    assert journal.read(source) == {ALICE: (2, 4)}
    eventually(lambda: management.asked == ["status 3", "state", "pid", "quit"] * 2)


def test_a_client_behind_management_tells_where_its_tunnel_goes(
    management: Management, journal: Journal
) -> None:
    source = opened("openvpn", management=management.address)
    state = "1795966020,CONNECTED,SUCCESS,10.99.0.2,203.0.113.5,1194,,\r\nEND\r\n"
    management.answers |= {"status 3": CLIENT.format(up=5, down=5), "state": state}
    management.bytecount(down=1000, up=100)
    journal.read(source)
    management.bytecount(down=1070, up=107)
    management.answers["state"] = "1795966020,RECONNECTING,ping-restart,,,,,\r\nEND\r\n"
    assert journal.read(source) == {("", "203.0.113.5:1194"): (7, 70)}
    management.bytecount(down=1500, up=150)
    management.answers |= {"state": state, "pid": "SUCCESS: pid=78\r\n"}
    reading = source.read()
    assert journal.take(reading) == {("", "203.0.113.5:1194"): (157, 1570)}
    assert reading.endpoints == {"203.0.113.5:1194": Endpoint("203.0.113.5", 1194, "openvpn")}
    words = ["status 3", "bytecount 1", "bytecount 0", "state", "pid", "quit"]
    eventually(lambda: management.asked[-6:] == words)


def test_an_idle_client_of_an_old_version_tells_nothing_which_is_no_zero(
    management: Management, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpert_agent.sources.openvpn_management.BYTECOUNT_TIMEOUT", 0.05)
    source = opened("openvpn", management=management.address, remote="vpn.example.com:1194")
    management.answers["status 3"] = CLIENT.format(up=5, down=5)
    with pytest.raises(SourceError, match="while nothing flows"):
        source.read()
    management.bytecount(down=10**9, up=10**9)
    assert journal.read(source) == {}
    management.answers["bytecount 1"] = "SUCCESS: bytecount interval changed\r\n"
    assert journal.read(source) == {}


def test_a_client_that_never_was_connected_is_one_sentence(management: Management) -> None:
    management.answers |= {
        "status 3": CLIENT.format(up=5, down=5),
        "state": "1795966020,WAIT,,,,,,\r\nEND\r\n",
    }
    management.bytecount(down=1, up=1)
    with pytest.raises(SourceError, match="not connected yet"):
        opened("openvpn", management=management.address).read()


def test_a_command_that_is_refused_and_a_hang_up_are_one_sentence(management: Management) -> None:
    management.answers["pid"] = "ERROR: unknown command\r\n"
    with pytest.raises(SourceError, match="refuses “pid”"):
        opened("openvpn", management=management.address).read()
    management.hangs_up = True
    with pytest.raises(SourceError, match="it has hung up"):
        opened("openvpn", management=management.address).read()


def test_a_password_is_given_and_a_wrong_one_is_one_sentence(management: Management) -> None:
    management.password = "S3cret"
    opened("openvpn", management=management.address, secret="S3cret").read()
    with pytest.raises(SourceError, match="refuses the password"):
        opened("openvpn", management=management.address, secret="other").read()
    with pytest.raises(SourceError, match="wants a password"):
        opened("openvpn", management=management.address).read()


def test_a_management_that_serves_somebody_else_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpert_agent.sources.openvpn_management.TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        with pytest.raises(SourceError, match="another program may be connected"):
            opened("openvpn", management=address).read()


def test_a_management_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        opened("openvpn", management=str(tmp_path / "absent.sock")).read()
