"""Rows as CSV and as JSON lines."""

from typing import Any

import orjson
import pytest

from synckairos.wire.tabular import render_csv, render_ndjson


def test_rows_are_rendered_as_csv_and_as_json_lines() -> None:
    rows: list[dict[str, Any]] = [
        {"a": "=1+1", "b": -5, "c": {"x": [1]}, "d": True},
        {"a": 'say "hi", twice', "b": None, "c": orjson.Fragment(b'{"y":2}')},
    ]
    assert render_csv(("a", "b", "c", "d"), rows).decode().splitlines() == [
        "a,b,c,d",
        '\'=1+1,-5,"{""x"":[1]}",true',
        '"say ""hi"", twice",,"{""y"":2}",',
    ]
    assert render_ndjson([{"a": 1}, {"a": orjson.Fragment(b"[2]")}]) == b'{"a":1}\n{"a":[2]}\n'


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_begins_like_a_formula_gets_a_quote_in_csv(beginning: str) -> None:
    assert f"'{beginning}1+1" in render_csv(("a",), [{"a": f"{beginning}1+1"}]).decode()
