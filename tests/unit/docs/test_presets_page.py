"""The page of presets is rendered from the data files."""

from tests.unit.docs.presets_page import PAGE, render


def test_page_is_what_the_data_files_give() -> None:
    assert PAGE.read_text() == render(), "stale: python -m tests.unit.docs.presets_page"
