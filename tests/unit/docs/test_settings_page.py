"""`docs/reference/settings.md` is rendered from the settings: `make env` renders it again."""

from synckairos import config
from synckairos.config import Settings
from tests.unit.docs.pages import code_words, read_page, tables


def test_settings_page_equals_what_the_settings_render() -> None:
    assert read_page("settings.md") == config.render_settings_page(), "stale: run `make env`"


def test_settings_page_has_one_row_for_each_setting() -> None:
    (table,) = tables(read_page("settings.md"))
    assert [code_words(row["variable"]) for row in table] == [
        [config.env_variables_of(field)[-1]] for field in Settings.model_fields
    ]
    assert all(row["values"] and row["meaning"] for row in table)


def test_settings_page_names_the_bounds_of_a_number() -> None:
    (table,) = tables(read_page("settings.md"))
    values = {row["variable"]: row["values"] for row in table}
    assert values["`PORT`"] == "whole number ≥ 0 and ≤ 65,535"
    assert values["`SYNCKAIROS_WEBHOOK_TIMEOUT_S`"] == "number > 0 and ≤ 60"
