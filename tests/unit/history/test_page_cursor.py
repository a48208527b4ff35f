"""Cursors go there and back, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.errors import ValidationFailed
from synckairos.history.page_cursor import MAX_NUMBER, MAX_TEXT, parse_cursor, parse_list_cursor, render_cursor


@given(
    at=st.integers(-MAX_NUMBER, MAX_NUMBER),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=MAX_TEXT),
)
def test_a_key_survives_the_way(at: int, text: str) -> None:
    cursor = render_cursor(at, text)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=")
    assert parse_cursor(cursor, int, str) == (at, text)


@given(text=st.text())
def test_anything_else_is_refused_or_is_a_key(text: str) -> None:
    try:
        key = parse_cursor(text, int, str)
    except ValidationFailed:
        return
    assert [type(each) for each in key] == [int, str]


@pytest.mark.parametrize(
    "key",
    [
        (1,), (1, 2), ("a", 1), (True, "a"), (1, "a", 2), (),
        (1, "x\0"), (1, "x" * 201), (2**53, "a"), (-(2**53), "a"), (2**63, "a"),
    ],
)  # fmt: skip
def test_a_key_of_another_kind_is_refused(key: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationFailed):
        parse_cursor(render_cursor(*key), int, str)


SESSION = "0198c0de-0000-7000-8000-00000000000a"


def test_a_list_begins_without_a_cursor_and_goes_on_from_a_session_however_its_id_is_written() -> None:
    assert parse_list_cursor(None) is None
    assert parse_list_cursor(render_cursor(0, SESSION.upper())) == (0, SESSION)


@pytest.mark.parametrize("key", [(-1, SESSION), (1, ""), (1, "x"), (1, SESSION[:-1]), (1, SESSION, 1)])
def test_a_list_goes_on_from_nothing_else(key: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationFailed):
        parse_list_cursor(render_cursor(*key))
