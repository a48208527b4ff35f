"""Strict JSON parsing: input that different JSON parsers read differently is refused."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.errors import ValidationFailed
from synckairos.wire.json_decode import decode_json


def refusal(body: bytes) -> dict[str, str]:
    """Return the only fault of a request body: message by path."""
    with pytest.raises(ValidationFailed) as refused:
        decode_json(body)
    [fault] = refused.value.details
    found: dict[str, str] = fault
    return found


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b"{}", {}),
        (b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}', {"a": [1, 2.5, None, True, "é"]}),
        (b'{"a": 18446744073709551617}', {"a": 2**64 + 1}),
        (b"null", None),
    ],
)
def test_valid_json_is_parsed_exactly(body: bytes, value: Any) -> None:
    assert decode_json(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nope",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a": 1} {}',
        b"[" * 100_000,
        b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
def test_invalid_json_is_refused_as_malformed(body: bytes) -> None:
    fault = refusal(body)
    assert fault["path"] == ""
    assert fault["message"].startswith("malformed JSON")


def test_repeated_names_are_refused_with_their_paths() -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode_json(b'{"a": {"b": 1, "b": {}}, "c": [0, {"d": [], "d": 2}], "a": 3}')
    assert {each["path"] for each in refused.value.details} == {"a", "a.b", "c.1.d"}
    assert {each["message"] for each in refused.value.details} == {"this name appears twice in one object"}


def test_a_repeated_name_in_deep_nesting_is_refused_with_its_path() -> None:
    depth = 900
    fault = refusal(b'{"a":' * depth + b'{"b":1,"b":2}' + b"}" * depth)
    assert fault["path"] == "a." * depth + "b"


@pytest.mark.parametrize("item", [b"{}", b"[0]", b'{"b":1,"b":1}'])
def test_a_search_for_repeated_names_in_deep_nesting_stays_small_in_memory(item: bytes) -> None:
    depth = 900
    body = b"[" * depth + b'{"a":1,"a":1}' + (b"," + item) * 5_000 + b"]" * depth
    tracemalloc.start()
    with pytest.raises(ValidationFailed) as refused:
        decode_json(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(each["path"].startswith("0." * (depth - 1)) for each in refused.value.details[:-1])
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"a":[' + b"{}," * 100_000 + b"{}]}", "a"),
        (b'{"a":[1,{"b":[' + b"1," * 99_997 + b"1]}]}", "a.1.b"),
        (b'{"a":[' + b'{"x":1},' * 50_001 + b"1]}", "a."),
        (b'{"a":[' + b"[]," * 100_000 + b"1]}", ""),
        (b"[" * 100_001, ""),
        (b'{"a":{' + b",".join(b'"%d":1' % at for at in range(5_001)) + b"}}", ""),
    ],
    ids=["objects", "numbers", "members", "arrays", "depths", "names"],
)
def test_a_body_with_too_many_values_is_refused(body: bytes, path: str) -> None:
    fault = refusal(body)
    assert "at most" in fault["message"]
    assert fault["path"].startswith(path)
    assert bool(fault["path"]) == bool(path)


def test_a_body_with_the_maximum_number_of_values_is_parsed() -> None:
    assert len(decode_json(b'{"a":[' + b"1," * 99_998 + b"1]}")["a"]) == 99_999
    text = b"," * 60_000 + b"[{" * 30_000
    assert decode_json(b'{"a":"' + text + b'"}') == {"a": text.decode()}


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0d8123eE+-.truefalsn ', max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        value = decode_json(body)
    except ValidationFailed:
        return
    if body:
        assert value == json.loads(body)


@pytest.mark.parametrize("padding", ["x", "\\u0078"])
@pytest.mark.parametrize("members", [4_999, 5_000, 5_001])
def test_the_maximum_of_members_is_the_same_for_compact_and_escaped_texts(padding: str, members: int) -> None:
    body = ("{" + ",".join(f'"{padding}{at}":1' for at in range(members)) + "}").encode()
    if members <= 5_000:
        assert len(decode_json(body)) == members
    else:
        assert refusal(body)["message"] == "an object has at most 5000 members"


@pytest.mark.parametrize("padding", ["x" * 1_000, "\\u0078" * 1_000])
def test_a_repeated_name_in_a_long_text_is_refused(padding: str) -> None:
    fault = refusal(f'{{"a": "{padding}", "b": [{{"c": 1, "c": 1}}]}}'.encode())
    assert fault["path"] == "b.0.c"
