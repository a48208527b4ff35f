"""Merge patches between two versions: a patch leads from any version to any other, or the result is None."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from synckairos.clock.merge_patch import merge_patch
from synckairos.wire.document_merge_patch import make_keyed_patch, parse_keyed_document

SCALARS = st.booleans() | st.integers(-9, 9) | st.sampled_from([0.0, 1.0, 0.5]) | st.text("ab", max_size=2)
METADATA = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_size=3,
)
PARTICIPANTS = st.lists(
    st.fixed_dictionaries(
        {"participant_id": st.sampled_from("pqrs"), "display_name": st.none() | st.text("ab", max_size=1)},
        optional={"reading": st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), max_size=2)},
    ),
    max_size=4,
    unique_by=lambda each: str(each["participant_id"]),
)
STATES = st.fixed_dictionaries(
    {
        "version": st.integers(1, 9),
        "participants": PARTICIPANTS,
        "groups": st.lists(
            st.fixed_dictionaries({"group_id": st.sampled_from("gh")}), max_size=2, unique_by=lambda g: g["group_id"]
        ),
        "active_participant_id": st.none() | st.sampled_from("pq"),
        "pauses": st.lists(st.fixed_dictionaries({"max_ms": st.none() | st.integers(0, 2)}), max_size=2),
        "clock": st.sampled_from([{"sudden_death": {}}, {"fischer": {"increment_ms": 1, "cap_ms": None}}]),
        "metadata": METADATA,
    },
    optional={"increment_ms": st.integers(0, 3)},
)


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the members that are null, because an absent member means null. Array items stay."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


def canonical(value: Any) -> bytes:
    return orjson.dumps(without_nulls(value), option=orjson.OPT_SORT_KEYS)


@given(STATES, STATES)
def test_a_patch_applied_to_one_state_gives_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = parse_keyed_document(orjson.dumps(before)), parse_keyed_document(orjson.dumps(after))
    patch = make_keyed_patch(old, new)
    assert patch is not None
    assert canonical(merge_patch(old, orjson.loads(orjson.dumps(patch)))) == canonical(new)


@given(STATES)
def test_equal_states_give_an_empty_patch(state: dict[str, Any]) -> None:
    assert make_keyed_patch(parse_keyed_document(orjson.dumps(state)), parse_keyed_document(orjson.dumps(state))) == {}


def test_a_null_in_metadata_gives_no_patch() -> None:
    plain: dict[str, Any] = {"participants": [], "groups": [], "metadata": {}}
    for metadata in ({"a": None}, {"a": {"b": [1, {"c": None}]}}):
        with_null = parse_keyed_document(orjson.dumps({**plain, "metadata": metadata}))
        assert make_keyed_patch(parse_keyed_document(orjson.dumps(plain)), with_null) is None
        assert make_keyed_patch(with_null, parse_keyed_document(orjson.dumps(plain))) is None


def test_a_removed_participant_is_null_in_the_patch() -> None:
    base: dict[str, Any] = {"groups": [], "metadata": {}}
    before = parse_keyed_document(
        orjson.dumps({**base, "participants": [{"participant_id": "p"}, {"participant_id": "q"}]})
    )
    after = parse_keyed_document(orjson.dumps({**base, "participants": [{"participant_id": "q"}]}))
    assert make_keyed_patch(before, after) == {"participants": {"p": None}}
