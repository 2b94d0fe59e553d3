"""Every text for people has a Russian translation: none is missing, fuzzy or outdated."""

import gettext
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
import unfold
from django.utils import translation

REPOSITORY = Path(__file__).resolve().parent.parent
CATALOGUES = sorted(
    path
    for apps in ("*", "integrations/*")
    for path in REPOSITORY.glob(f"{apps}/locale/*/LC_MESSAGES/django.po")
)
_THEME = Path(unfold.__file__).parent
_SIMPLE = re.compile(r"""{%\s*trans(?:late)?\s+(["'])(.+?)\1""")
_BLOCK = re.compile(
    r"{%\s*blocktrans(?:late)?\s(.*?)%}(.*?){%\s*(?:plural|endblocktrans)", re.DOTALL
)


def name(path: Path) -> str:
    return f"{path.parts[-5]}-{path.parts[-3]}"


@pytest.mark.parametrize("path", CATALOGUES, ids=name)
def test_nothing_is_missing_or_guessed(path: Path) -> None:
    found = [
        entry.msgid for entry in polib.pofile(str(path)) if entry.fuzzy or not entry.translated()
    ]
    assert found == []


@pytest.mark.parametrize("path", CATALOGUES, ids=name)
def test_the_compiled_catalogue_matches_its_source(path: Path) -> None:
    written = {
        (entry.msgctxt, entry.msgid): texts(entry)
        for entry in polib.pofile(str(path))
        if not entry.obsolete
    }
    compiled = {
        (entry.msgctxt, entry.msgid): texts(entry)
        for entry in polib.mofile(str(path.with_suffix(".mo")))
    }
    assert compiled == written, "run: django-admin compilemessages"


def texts(entry: polib.POEntry | polib.MOEntry) -> object:
    return dict(entry.msgstr_plural) or entry.msgstr


@pytest.mark.parametrize("path", CATALOGUES, ids=name)
def test_placeholders_are_the_same_in_both_languages(path: Path) -> None:
    placeholders = re.compile(r"%\(\w+\)[sd]|%[sd]|{\w*}")
    for entry in polib.pofile(str(path)):
        expected = set(placeholders.findall(entry.msgid_plural or entry.msgid))
        for text in entry.msgstr_plural.values() or [entry.msgstr]:
            assert set(placeholders.findall(text)) == expected, entry.msgid


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="gettext is not installed")
@pytest.mark.parametrize(
    "app",
    [
        "operations",
        "traffic",
        "subscriptions",
        "gateways",
        "integrations/marzban",
        "integrations/three_x_ui",
        "integrations/pulls",
        "integrations/moving",
        "integrations/telegram",
    ],
)
def test_the_catalogue_holds_every_marked_text(app: str, tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / app,
        tmp_path / app,
        ignore=shutil.ignore_patterns("locale", "static", "migrations"),
    )
    (tmp_path / app / "locale").mkdir()
    command = [
        sys.executable,
        "-m",
        "django",
        "makemessages",
        "--locale=ru",
        "--no-location",
        "--verbosity=0",
    ]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}  # of no project
    subprocess.run(
        command, cwd=tmp_path / app, env=environment, check=True, capture_output=True, timeout=120
    )
    marked = polib.pofile(str(tmp_path / app / "locale/ru/LC_MESSAGES/django.po"))
    known = polib.pofile(str(REPOSITORY / app / "locale/ru/LC_MESSAGES/django.po"))
    present = {(entry.msgctxt, entry.msgid) for entry in known if not entry.obsolete}
    assert [entry.msgid for entry in marked if (entry.msgctxt, entry.msgid) not in present] == []


@pytest.mark.parametrize("path", [path for path in CATALOGUES if path.parts[-3] == "ru"], ids=name)
def test_each_text_is_shown_with_the_translation_of_its_own_catalogue(path: Path) -> None:
    """Django merges all catalogues, so a text in two apps could be shown with the other app's translation."""
    entries = [entry for entry in polib.pofile(str(path)) if not entry.msgid_plural]
    with translation.override("ru"):
        shown = {
            entry.msgid: translation.gettext(entry.msgid) for entry in entries if not entry.msgctxt
        }
    written = {entry.msgid: entry.msgstr for entry in entries if not entry.msgctxt}
    assert {
        text: (shown[text], written[text]) for text in written if shown[text] != written[text]
    } == {}


def texts_of_the_theme() -> Iterator[str]:
    for path in sorted((_THEME / "templates").rglob("*.html")):
        source = path.read_text()
        yield from (found[2] for found in _SIMPLE.finditer(source))
        for found in _BLOCK.finditer(source):
            text = re.sub(r"{{\s*(\w+)\s*}}", r"%(\1)s", found[2])
            yield (
                " ".join(line.strip() for line in text.strip().splitlines())
                if "trimmed" in found[1]
                else text
            )


def test_texts_of_the_theme_are_translated() -> None:
    with translation.override("ru"):
        catalogue = translation.trans_real.catalog()._catalog  # type: ignore[attr-defined]
        missing = {
            text
            for text in texts_of_the_theme()
            if (text not in catalogue and (text, 0) not in catalogue)
        }
    assert sorted(missing) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 дней"),
        (1, "1 день"),
        (2, "2 дня"),
        (5, "5 дней"),
        (11, "11 дней"),
        (21, "21 день"),
        (104, "104 дня"),
    ],
)
def test_russian_counts_as_it_should(number: int, expected: str) -> None:
    with translation.override("ru"):
        shown = translation.ngettext("%(counter)s day", "%(counter)s days", number) % {
            "counter": number
        }
    assert shown == expected


def test_every_catalogue_can_be_read() -> None:
    for path in CATALOGUES:
        with path.with_suffix(".mo").open("rb") as file:
            assert gettext.GNUTranslations(file).info()["language"] == path.parts[-3]
