import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from subscriptions.management.commands import add_direct_configs
from subscriptions.models import DirectConfig
from tests.subscriptions.examples import A, B, direct

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "links.txt"


def names() -> list[str]:
    return list(DirectConfig.objects.values_list("remarks", flat=True))


def test_good_lines_are_kept_and_bad_lines_reported_with_number_and_reason(
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


def test_a_missing_file_is_reported() -> None:
    with pytest.raises(CommandError, match=r"/nowhere cannot be read: No such file"):
        call_command("add_direct_configs", "/nowhere")


def test_a_file_that_is_not_text_is_reported(file: Path) -> None:
    file.write_bytes(b"trojan://\0")
    with pytest.raises(CommandError, match=r"is not text \(byte 9\)"):
        call_command("add_direct_configs", str(file))


def base64_of(text: str, width: int = 10_000) -> str:
    packed = base64.b64encode(text.encode()).decode()
    return "\n".join(packed[start : start + width] for start in range(0, len(packed), width))


@pytest.mark.parametrize(
    "content",
    [
        base64_of(f"{A}\n{B}").encode(),
        base64_of(f"{A}\n{B}", 40).encode(),
        base64_of(base64_of(f"{A}\n{B}", 76)).encode(),
        f"# saved\n{base64_of(A)}\n{base64_of(B)}".encode(),
        f"{A}\n{base64_of(B)}\n".encode(),
        json.dumps([A, B]).encode(),
        f"{A}\r\n{B}\r\n".encode("utf-16"),
        f"{A} {B}".encode(),
        f"STATUS=ok\nREMARKS=mine\n{A}\n{B}".encode(),
    ],
)
def test_a_file_is_read_as_the_body_of_a_source(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    call_command("add_direct_configs", str(file))
    assert names() == ["A", "B"]


def test_lines_inside_base64_are_counted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(base64_of(f"{A}\n\ntrojan://secret@:1\n"))
    call_command("add_direct_configs", str(file))
    assert capsys.readouterr().err == "line 3: troj… The link names no server.\n"


@pytest.mark.parametrize(
    ("content", "name"), [("Вена".encode("cp1251"), "Вена"), ("Мюнхен".encode()[:-1], "Мюнхе")]
)
def test_names_in_an_older_encoding_or_cut_in_half_are_read(
    file: Path, content: bytes, name: str
) -> None:
    file.write_bytes(A.encode().removesuffix(b"A") + content)
    call_command("add_direct_configs", str(file))
    assert names() == [name]


def test_more_links_than_a_source_may_have_are_taken(file: Path) -> None:
    many = "\n".join(f"trojan://pw{number}@a.example:1#{number}" for number in range(5001))
    file.write_text(base64_of(many, 76))
    call_command("add_direct_configs", str(file))
    assert len(names()) == 5001


def test_a_file_that_is_too_large_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_direct_configs, "_MAX_BYTES", 3)
    file.write_text("abcd")
    with pytest.raises(CommandError, match="is larger than"):
        call_command("add_direct_configs", str(file))
