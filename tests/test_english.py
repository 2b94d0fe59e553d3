"""Code, templates, docs and messages read as plain English: patterns find the worst habits.

Each pattern comes with what to write instead.
"""

import re
import subprocess
from functools import cache
from pathlib import Path

import polib
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
_KINDS = (
    ".py",
    ".html",
    ".md",
    ".js",
    ".css",
    ".toml",
    ".example",
    ".service",
    ".timer",
    ".yaml",
    ".yml",
    ".conf",
)
_SCRIPTS = ("script/", ".ci/run", "deploy/Dockerfile", "deploy/every", "deploy/crontab")
_NOT_ENGLISH = ("README.ru.md", "docs/tour.ru.md", "docs/commands.ru.md", "tests/")
_NOUNS = (
    "request|report|table|process|subscriber|transaction|setting|run|stage|server|line|key|file"
)
# Pattern, and what to write instead.
HABITS = (
    (r"(?:,|\w:) for (?:it|they|he|she|we|nobody|nothing|everybody|everything|somebody)\b", "because"),
    (r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|different\b)\w+", "is not a …"),
    (r"\banew\b", "again"),
    (r"\bto come\b(?= *[.,;)])", "in the future"),
    (r"\bas ever\b", "as before, or still"),
    (r"(?:^|[.!?:] |\"|# |\* |// )Of (?:what|whom|those|one|a|an|the|these|each|all|such|some|days|codes)\b", "begin with the subject"),
    (r"(?:^|[.!?] |\"|# |\* |// )Who (?:has|is|was|may|never|asks|comes|does|reads|sends|holds|guesses|knows|pauses|confirms)\b(?![^.?!]*\?)", "say who: Callers who …"),
    (r"(?:^|[.!?] |\"|# |\* |// )What (?:is|was|has|cannot|came|comes|goes|stands|nobody|somebody|it takes)\b(?![^.?!]*\?)", "name the subject"),
    (r"\b(?:as long as|while) (?:it|that) lasts\b", "while the condition lasts"),
    (rf"\b(?:once|[Rr]ows|[Rr]ecords|[Bb]ytes|µs|ms|[Oo]ne (?:[a-z]+ )?[a-z]+) a (?:{_NOUNS})\b", "per"),
    (r"\b[Ss]o many\b(?! \w+ that\b)", "say how many of what, or name the limit"),
    (r"\b(?:is|are|was|were|be) told\b(?! apart)", "is notified, or is reported"),
    (r"\bstands? (?:in|at|there|beside|on)\b", "is in"),
    (r"\bowner alone\b", "only the owner"),
    (r"\bwas counted of\b", "rewrite"),
)  # fmt: skip


@cache
def _files() -> tuple[str, ...]:
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return tuple(
        name
        for name in found.split("\0")
        if (name.endswith(_KINDS) or name.startswith(_SCRIPTS))
        and not name.startswith(_NOT_ENGLISH)
        and (REPOSITORY / name).is_file()
    )


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


@pytest.mark.parametrize(("pattern", "instead"), HABITS)
def test_code_templates_and_docs_read_as_plain_english(pattern: str, instead: str) -> None:
    compiled = re.compile(pattern)
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in _files()
        for number, line in enumerate(_text(name).splitlines(), 1)
        if compiled.search(line)
    ]
    assert not found, f"write {instead!r}:\n" + "\n".join(found)


@pytest.mark.parametrize(("pattern", "instead"), HABITS)
def test_messages_read_as_plain_english(pattern: str, instead: str) -> None:
    compiled = re.compile(pattern)
    found = [
        entry.msgid
        for path in sorted(REPOSITORY.glob("[!.]*/**/locale/ru/LC_MESSAGES/django.po"))
        for entry in polib.pofile(str(path))
        if compiled.search(entry.msgid)
    ]
    assert not found, f"write {instead!r}:\n" + "\n".join(found)
