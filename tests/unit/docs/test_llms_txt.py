"""`llms.txt` lists all pages of the documentation, and each of its links leads to a file."""

import re

from tests.unit.docs.llms_txt import FILE, ROOT, render


def test_file_is_what_the_index_of_the_documentation_makes() -> None:
    assert FILE.read_text() == render(), "stale: python -m tests.unit.docs.llms_txt"


def test_each_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)", FILE.read_text())
    assert len(links) > 50
    assert [link for link in links if not (ROOT / link).is_file()] == []
