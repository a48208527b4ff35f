"""Every link from one page of the documentation to another leads to a file, and to a heading in it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCUMENTS
from tests.unit.docs.test_glossary import anchor_for

PAGES = [DOCUMENTS.parent / "README.md", *sorted(DOCUMENTS.rglob("*.md"))]
LINK = re.compile(r"\]\((?P<path>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings; of equal headings the later ones get a number."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        anchor = anchor_for(heading)
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


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
