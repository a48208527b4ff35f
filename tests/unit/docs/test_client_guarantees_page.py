"""The page of the clients' guarantees is what the suite for both clients renders."""

from tests.conformance.guarantees_page import PAGE, render


def test_page_lists_the_guarantees_of_the_suite() -> None:
    assert PAGE.read_text() == render(), "stale: python -m tests.conformance.guarantees_page"
