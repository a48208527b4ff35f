"""The index of the documentation: it has a link to every page, or to the list of pages of one kind."""

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCUMENTS

INDEX = DOCUMENTS / "README.md"
LISTED_BY_A_README = (DOCUMENTS / "inside" / "decisions", DOCUMENTS / "operate" / "runbooks")


def linked_pages(page: Path) -> set[Path]:
    """Return the pages to which a page has links."""
    return {(page.parent / path).resolve() for path in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())}


def test_index_links_every_page_and_the_lists_of_pages() -> None:
    pages = {page for page in DOCUMENTS.rglob("*.md") if page != INDEX and page.parent not in LISTED_BY_A_README}
    missing = (pages | {folder / "README.md" for folder in LISTED_BY_A_README}) - linked_pages(INDEX)
    assert sorted(str(page.relative_to(DOCUMENTS)) for page in missing) == []


@pytest.mark.parametrize("folder", LISTED_BY_A_README, ids=lambda folder: folder.name)
def test_list_of_pages_links_every_page_of_its_folder(folder: Path) -> None:
    readme = folder / "README.md"
    assert set(folder.glob("*.md")) - {readme} - linked_pages(readme) == set()
