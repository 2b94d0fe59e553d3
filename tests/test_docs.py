"""All links in the documents lead somewhere."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)")


def anchors(document: Path) -> set[str]:
    """Anchors of headings, as forges generate them."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda found: found.name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(document: Path) -> None:
    for path, anchor in _LINK.findall(document.read_text("utf-8")):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_document_is_linked_from_another() -> None:
    texts = {found: found.read_text("utf-8") for found in DOCUMENTS}
    for document in REPOSITORY.glob("docs/*.md"):
        others = [text for found, text in texts.items() if found != document]
        assert any(f"{document.name})" in text or f"{document.name}#" in text for text in others), (
            document.name
        )


_PATH = re.compile(
    r"`((?:operations|traffic|subscriptions|integrations|xpert_panel|tests|script|agent)/[\w./-]+)`"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda found: found.name)
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = set(_PATH.findall(document.read_text("utf-8")))
    assert not sorted(path for path in named if not (REPOSITORY / path).exists())
