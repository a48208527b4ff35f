"""Rows as CSV that no spreadsheet executes, and as lines of JSON."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.wire.tabular import render_csv_pieces, render_csv_rows, render_ndjson_pieces


def render_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(render_csv_pieces(columns, rows))


def test_rows_are_rendered_as_csv_and_as_json_lines() -> None:
    rows: list[dict[str, Any]] = [
        {"a": "=1+1", "b": -5, "c": {"x": [1]}, "d": True},
        {"a": 'say "hi", twice', "b": None, "c": orjson.Fragment(b'{"y":2}')},
    ]
    assert render_csv(("a", "b", "c", "d"), rows).decode().split("\r\n") == [
        "a,b,c,d",
        '"\'=1+1",-5,"{""x"":[1]}",true',
        '"say ""hi"", twice",,"{""y"":2}",',
        "",
    ]
    assert render_csv_rows(("b", "a"), [{"a": ""}]) == b',""\n'
    assert b"".join(render_ndjson_pieces([{"a": 1}, {"a": orjson.Fragment(b"[2]")}])) == b'{"a":1}\n{"a":[2]}\n'


def test_csv_is_utf_8_without_a_byte_order_mark() -> None:
    assert render_csv(("a",), [{"a": "Zoë Müller ß 日本"}]) == 'a\r\n"Zoë Müller ß 日本"\r\n'.encode()


def cell(value: Any) -> str:
    """Return the only cell of a CSV file, as the CSV reader of Python returns it."""
    (_, (found,)) = csv.reader(io.StringIO(render_csv(("a",), [{"a": value}]).decode(), newline=""))
    return found


SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫"
INVISIBLE = " \t\n\u00a0\u2003\u3000\u200b\ufeff\u202f\0"


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("before", ["", *INVISIBLE, "\u00a0 \u3000", '"', ";", "; ;"])
def test_text_that_begins_like_a_formula_gets_an_apostrophe(before: str, sign: str) -> None:
    assert cell(f"{before}{sign}1+1").startswith("'")


@pytest.mark.parametrize(
    ("text", "defused"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("a; \u00a0＝1;b;-2", "a;' \u00a0＝1;b;'-2"),
        ("a\t@b\r\n+c", "a\t'@b\r'\n'+c"),
        ('a;"=1"', 'a;\'"=1"'),
        (";=1", "';'=1"),
        ("\tx", "'\tx"),
    ],
)
def test_formula_after_a_separator_gets_an_apostrophe(text: str, defused: str) -> None:
    assert cell(text) == defused


@pytest.mark.parametrize(
    "text", ["", "a", "a=1", "1-2", "ä; ö", "a,=1", "Zoë", " a", "0198c0de-0000-7000-8000-00000000000a", "'=1"]
)
def test_other_text_is_unchanged(text: str) -> None:
    assert cell(text) == text


@given(st.text(st.sampled_from([*SIGNS, *INVISIBLE, ";", '"', "'", ",", "\r", "1", "ä"]), max_size=12))
def test_no_part_of_a_text_is_a_formula_at_whichever_character_a_spreadsheet_splits(text: str) -> None:
    line = render_csv(("b", "a"), [{"a": text, "b": "x"}]).decode().split("\r\n", 1)[1]
    assert not [part for part in re.split(r"[;\t\r\n]", line) if is_formula(part)]
    assert not is_formula(cell(text))


def is_formula(text: str) -> bool:
    """Return whether the first visible character, other than a quotation mark, is a sign that begins a formula."""
    visible = (
        each for each in text if each != '"' and unicodedata.category(each) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
    )
    return unicodedata.normalize("NFKC", next(visible, "")) in ("=", "+", "-", "@")


def test_json_in_a_cell_is_the_same_value_without_a_semicolon() -> None:
    value = {"note;": "a;=1+1 ＝1 &uuml; \\;", "=1": "\u00a0=2"}
    for given_value in (value, orjson.Fragment(orjson.dumps(value))):
        found = cell(given_value)
        assert orjson.loads(found) == value
        assert ";" not in found


def test_json_lines_keep_every_text() -> None:
    rows = [{"a": f"{before}{sign}1;{sign}2"} for before in ("", *INVISIBLE) for sign in SIGNS]
    assert [orjson.loads(line) for line in b"".join(render_ndjson_pieces(rows)).splitlines()] == rows
