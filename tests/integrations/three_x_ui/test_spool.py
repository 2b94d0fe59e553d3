"""The folder of messages that wait: nothing half written is ever seen, and nothing is kept that was not promised."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from integrations.three_x_ui import spool as module
from integrations.three_x_ui.spool import Spool, SpoolFullError, set_aside, time_of


@pytest.fixture
def folder(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool", most=100)


def test_an_empty_spool_needs_no_folder(folder: Spool) -> None:
    assert folder.paths() == []
    assert folder.waiting() == (0, 0, None, 0)
    assert not folder.folder.exists()
    with folder.alone() as is_alone:
        assert not is_alone


def test_messages_come_out_in_their_order(folder: Spool) -> None:
    for number in range(5):
        folder.put(f"{9 - number}", str(number).encode())
    assert [path.read_bytes() for path in folder.paths()] == [b"0", b"1", b"2", b"3", b"4"]


def test_nobody_else_may_read_them(folder: Spool) -> None:
    folder.put("a", b"secret")
    assert folder.folder.stat().st_mode & 0o777 == 0o700
    assert folder.paths()[0].stat().st_mode & 0o777 == 0o600


def test_it_tells_how_much_waits_and_since_when(folder: Spool) -> None:
    folder.put("a", b"12345")
    folder.put("b", b"678")
    waiting = folder.waiting()
    assert (waiting.messages, waiting.bytes) == (2, 8)
    assert waiting.oldest == time_of(folder.paths()[0].name)


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_it_is_bounded(folder: Spool, size: int, fits: bool) -> None:
    if fits:
        folder.put("a", b"x" * size)
    else:
        with pytest.raises(SpoolFullError):
            folder.put("a", b"x" * size)
    assert len(folder.paths()) == fits


def test_all_that_waits_is_bounded_together(folder: Spool) -> None:
    folder.put("a", b"x" * 60)
    with pytest.raises(SpoolFullError):
        folder.put("b", b"x" * 41)
    folder.put("c", b"x" * 40)


def test_what_was_booked_makes_room(folder: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEASURED", 0.0)
    folder.put("a", b"x" * 100)
    folder.paths()[0].unlink()
    folder.put("b", b"x" * 100)


def test_what_other_processes_wrote_takes_room(folder: Spool) -> None:
    Spool(folder.folder, most=100).put("a", b"x" * 100)
    with pytest.raises(SpoolFullError):
        folder.put("b", b"x")


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
def test_a_message_that_is_not_on_disk_is_not_kept(
    folder: Spool, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    folder.put("a", b"good")
    if call == "rename":
        monkeypatch.setattr(Path, "rename", full)
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(module, "_write", full)
    with pytest.raises(OSError, match="No space"):
        folder.put("b", b"bad")
    assert [path.read_bytes() for path in folder.folder.iterdir()] == [b"good"]


def test_a_half_written_message_is_not_seen_and_is_swept_away_later(folder: Spool) -> None:
    folder.put("a", b"whole")
    half = folder.folder / f".{folder.paths()[0].name}"
    half.write_bytes(b"ha")
    assert len(folder.paths()) == 1
    written = time_of(folder.paths()[0].name)
    folder.sweep(written + 3599)
    assert half.exists()
    folder.sweep(written + 3601)
    assert not half.exists()
    assert len(folder.paths()) == 1


def test_what_is_set_aside_does_not_wait(folder: Spool) -> None:
    folder.put("a", b"bad")
    set_aside(folder.paths()[0])
    assert folder.waiting() == (0, 0, None, 1)


def test_one_empties_it_at_a_time(folder: Spool) -> None:
    folder.put("a", b"x")
    with folder.alone() as first, folder.alone() as second:
        assert (first, second) == (True, False)
    with folder.alone() as is_alone:
        assert is_alone


def _hold_and_die(folder: Path) -> None:
    with Spool(folder, 100).alone():
        os._exit(0)


def test_whoever_is_killed_holds_up_nobody(folder: Spool) -> None:
    folder.put("a", b"x")
    process = multiprocessing.get_context("spawn").Process(
        target=_hold_and_die, args=(folder.folder,)
    )
    process.start()
    process.join(60)
    with folder.alone() as is_alone:
        assert is_alone


def test_a_foreign_file_is_of_no_time() -> None:
    assert time_of("notes.json") == 0.0
