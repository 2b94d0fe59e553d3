import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from subscriptions.management.commands import add_direct_configs
from subscriptions.models import DirectConfig

from .examples import A, B, direct

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "links.txt"


def names() -> list[str]:
    return list(DirectConfig.objects.values_list("remarks", flat=True))


def test_good_lines_are_kept_and_bad_ones_named_with_number_and_reason(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(f"\ufeff# my list\r\n{B}\r\n\r\ntrojan://secret@:1\r\n{A}".encode())
    call_command("add_direct_configs", str(file))
    printed = capsys.readouterr()
    assert printed.out == "Direct configurations: 2 added, 1 refused.\n"
    assert printed.err == "line 4: troj… The link names no server.\n"
    assert names() == ["B", "A"]


def test_they_go_behind_those_that_are_there(file: Path) -> None:
    direct(B)
    file.write_text(A)
    call_command("add_direct_configs", str(file))
    assert names() == ["B", "A"]


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(A.encode())))
    call_command("add_direct_configs", "-")
    assert names() == ["A"]


@pytest.mark.parametrize("content", ["", "# nothing", "nonsense"])
def test_when_no_line_was_good_it_fails(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(CommandError, match="Direct configurations: 0 added"):
        call_command("add_direct_configs", str(file))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandError, match=r"/nowhere cannot be read: No such file"):
        call_command("add_direct_configs", "/nowhere")


def test_a_file_that_is_no_text_is_named(file: Path) -> None:
    file.write_bytes(b"trojan://\xff")
    with pytest.raises(CommandError, match=r"is not UTF-8 text \(byte 9\)"):
        call_command("add_direct_configs", str(file))


def test_a_file_that_is_too_large_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_direct_configs, "_MAX_BYTES", 3)
    file.write_text("abcd")
    with pytest.raises(CommandError, match="is larger than"):
        call_command("add_direct_configs", str(file))
