"""Scans of JSON texts give the same results as loops over the values."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.wire.json_text_scan import has_plain_values, has_small_objects, is_exact, is_nested_deeper

MAX_INTEGER = 2**53 - 1

names = st.text(alphabet='a:,"\\{}[] \0é', max_size=3)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([2**53, -(2**53), 2**53 - 1, 1 - 2**53])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet='a1u0:,"\\{}[]\0é', max_size=8)
    | st.just("\\u0000")
    | st.just("9" * 20)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))


def levels(value: Any) -> int:
    """Return the number of levels of arrays and objects."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(levels, items), default=0)


def is_plain(value: Any) -> bool:
    """Return whether a value has no NUL character and no integer beyond ±`MAX_INTEGER`."""
    if isinstance(value, dict):
        return all("\0" not in name and is_plain(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, bool) or not isinstance(value, int) or abs(value) <= MAX_INTEGER


@given(values, st.integers(0, 5))
def test_the_scans_agree_with_loops_over_the_values(value: Any, max_levels: int) -> None:
    text = orjson.dumps(value)
    assert is_nested_deeper(text, max_levels) == (levels(value) > max_levels)
    assert has_plain_values(text, MAX_INTEGER, max_levels) == (is_plain(value) and levels(value) <= max_levels)


def largest_object(value: Any) -> int:
    """Return the number of members of the largest object."""
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return max([len(value) if isinstance(value, dict) else 0, *map(largest_object, items)])


@given(values, st.integers(0, 5))
def test_the_scan_finds_large_objects(value: Any, max_members: int) -> None:
    assert has_small_objects(orjson.dumps(value), max_members) == (largest_object(value) <= max_members)


@pytest.mark.parametrize("levels_above", [0, 5, 50])
def test_a_large_object_is_found_at_each_level(levels_above: int) -> None:
    for members, is_small in ((3, levels_above < 8), (4, False)):
        inner = "{" + ",".join(f'"{at}":{{}}' for at in range(members)) + "}"
        text = ('{"a":[' * levels_above + inner + "]}" * levels_above).encode()
        assert has_small_objects(text, 3) is is_small


@given(values, st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
def test_a_text_is_exact_with_and_without_spaces(value: Any, separators: tuple[str, str]) -> None:
    text = orjson.dumps(value)
    assert is_exact(text, orjson.loads(text))
    if not any(character in text for character in b".\\"):
        spaced = json.dumps(value, ensure_ascii=False, separators=separators).encode()
        assert is_exact(spaced, orjson.loads(spaced))


@given(names, st.lists(values, min_size=2, max_size=3), st.lists(st.tuples(names, values), max_size=3))
def test_a_text_with_a_repeated_name_is_not_exact(
    name: str, repeated: list[Any], others: list[tuple[str, Any]]
) -> None:
    members = [(name, repeated[0]), *others, *((name, value) for value in repeated[1:])]
    text = b"{" + b",".join(orjson.dumps(key) + b":" + orjson.dumps(value) for key, value in members) + b"}"
    for whole in (text, b'[{"a":' + text + b"}]"):
        assert not is_exact(whole, orjson.loads(whole))


@pytest.mark.parametrize("text", [b"18446744073709551616", b"[-9223372036854775809]", b"1E5", b"1.50", b'"\\u0061"'])
def test_a_text_that_orjson_renders_differently_is_not_exact(text: bytes) -> None:
    assert not is_exact(text, orjson.loads(text))
