"""The index of the documentation: it has a link to every page."""

import re

from tests.unit.docs.pages import DOCUMENTS

INDEX = DOCUMENTS / "README.md"
DECISIONS = DOCUMENTS / "inside" / "decisions"


def test_index_links_every_page_and_the_list_of_decisions() -> None:
    linked = {(DOCUMENTS / path).resolve() for path in re.findall(r"\]\(([^)\s#]+\.md)", INDEX.read_text())}
    pages = {page for page in DOCUMENTS.rglob("*.md") if page != INDEX and page.parent != DECISIONS}
    missing = (pages | {DECISIONS / "README.md"}) - linked
    assert sorted(str(page.relative_to(DOCUMENTS)) for page in missing) == []
