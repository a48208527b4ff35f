"""The glossary: its order, and the links to its terms from other pages."""

import re
from pathlib import Path

from synckairos.http.documentation.markdown import heading_anchor

DOCUMENTS = Path(__file__).parents[3] / "docs"
GLOSSARY = DOCUMENTS / "glossary.md"
LINK = re.compile(r"\]\((?P<path>[^)\s#]*glossary\.md)#(?P<anchor>[^)\s]+)\)")


def terms() -> list[str]:
    """Return the headings of the glossary's entries, in the order of the page."""
    return re.findall(r"^## (.+)$", GLOSSARY.read_text(), re.MULTILINE)


def links() -> list[tuple[Path, Path, str]]:
    """Return each link to a term: the page that has it, the file it leads to, the anchor."""
    return [
        (page, (page.parent / link["path"]).resolve(), link["anchor"])
        for page in sorted(DOCUMENTS.rglob("*.md"))
        for link in LINK.finditer(page.read_text())
    ]


def test_glossary_terms_are_unique_and_in_alphabetical_order() -> None:
    assert terms() == sorted(set(terms()), key=str.casefold)


def test_each_link_to_a_term_leads_to_an_entry() -> None:
    anchors = {heading_anchor(term) for term in terms()}
    broken = [
        f"{page.relative_to(DOCUMENTS)}: #{anchor}"
        for page, target, anchor in links()
        if target != GLOSSARY or anchor not in anchors
    ]
    assert broken == []


def test_at_least_ten_pages_link_to_terms() -> None:
    assert len({page for page, *_ in links()}) >= 10
