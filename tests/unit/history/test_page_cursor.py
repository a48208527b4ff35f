"""Page cursors: a rendered cursor is parsed to its list position, and every other text is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.errors import ValidationFailed
from synckairos.history.page_cursor import MAX_NUMBER, MAX_TEXT, parse_cursor, parse_list_cursor, render_cursor


@given(
    at=st.integers(-MAX_NUMBER, MAX_NUMBER),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=MAX_TEXT),
)
def test_a_rendered_key_parses_to_itself(at: int, text: str) -> None:
    cursor = render_cursor(at, text)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=")
    assert parse_cursor(cursor, int, str) == (at, text)


@given(text=st.text())
def test_any_text_is_refused_or_parses_to_a_key_of_the_types(text: str) -> None:
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
def test_a_key_of_other_types_or_sizes_is_refused(key: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationFailed):
        parse_cursor(render_cursor(*key), int, str)


SESSION = "0198c0de-0000-7000-8000-00000000000a"


def test_a_list_cursor_accepts_ids_in_upper_case() -> None:
    assert parse_list_cursor(None) is None
    assert parse_list_cursor(render_cursor(0, SESSION.upper())) == (0, SESSION)


@pytest.mark.parametrize("key", [(-1, SESSION), (1, ""), (1, "x"), (1, SESSION[:-1]), (1, SESSION, 1)])
def test_a_list_cursor_without_an_instant_and_an_id_is_refused(key: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationFailed):
        parse_list_cursor(render_cursor(*key))
