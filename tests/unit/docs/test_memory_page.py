"""The page about memory names tests that exist, and a bound and a life for everything that grows."""

import re

from tests.unit.docs.pages import DOCUMENTS, tables

PAGE = (DOCUMENTS / "inside" / "memory.md").read_text()
TESTS = "\n".join(path.read_text() for path in (DOCUMENTS.parent / "tests").rglob("test_*.py"))


def test_each_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) > 25
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_each_row_has_a_bound_a_life_and_a_test() -> None:
    for table in tables(PAGE):
        for row in table:
            assert row["bound"]
            assert row["life"]
            assert row["test"], row["what grows"]
