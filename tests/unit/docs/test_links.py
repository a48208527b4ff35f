"""Every link from one page of the documentation to another leads to a file, and to a heading in it."""

import re
from pathlib import Path

import pytest

from synckairos.http.documentation.markdown import find_headings, parse_markdown
from tests.unit.docs.pages import DOCUMENTS

PAGES = [DOCUMENTS.parent / "README.md", *sorted(DOCUMENTS.rglob("*.md"))]
LINK = re.compile(r"\]\((?P<path>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the pages under `/docs` have them."""
    return {each.anchor for each in find_headings(parse_markdown(page.read_text()))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCUMENTS.parent)))
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.finditer(page.read_text()):
        if "://" in link["path"] or link["path"].startswith("mailto:"):
            continue
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        is_there = target.exists()
        if is_there and link["anchor"] and target.suffix == ".md":
            is_there = link["anchor"] in anchors(target)
        if not is_there:
            broken.append(link[0])
    assert broken == []
