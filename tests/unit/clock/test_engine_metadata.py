"""The command `update_metadata`: the merge patch, the versions that it makes, and the maximum size of metadata."""

import pytest

from synckairos.clock.commands import UpdateMetadata
from tests.unit.clock.script import T0, play, spec


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        # The examples of RFC 7396, appendix A, whose target and patch are objects.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
        ({"a": [0]}, {"a": [False]}, {"a": [False]}),
    ],
)
def test_metadata_patch_merges_by_rfc_7396_and_makes_one_version(
    target: dict[str, object], patch: dict[str, object], merged: dict[str, object]
) -> None:
    session = play(spec("global", metadata=target), "0 start")
    decision = session.do(T0 + 1, UpdateMetadata(patch))
    assert decision.refusal is None
    assert session.state.metadata == merged
    assert [type(value) for value in session.state.metadata.values()] == [type(value) for value in merged.values()]
    assert session.state.version == 3
    again = session.do(T0 + 2, UpdateMetadata(patch))
    assert again == type(again)()


@pytest.mark.parametrize("patch", [{}, {"a": {"b": [1]}}, {"z": None}, {"a": {}}, {"a": {"q": None}}])
def test_metadata_patch_without_a_change_makes_no_version(patch: dict[str, object]) -> None:
    session = play(spec("global", metadata={"a": {"b": [1]}}), "0 start")
    decision = session.do(T0 + 1, UpdateMetadata(patch))
    assert (decision.all_transitions, decision.refusal) == ((), None)


def test_metadata_patch_does_not_change_the_clock() -> None:
    session = play(spec("per_participant"), '0 start; 10 merge:{"a":1}')
    assert session.lines[-1] == "10 metadata_updated"
    assert session.state.anchor_ms == T0
    assert session.state.updated_at_ms == T0 + 10_000
    assert session.face == "running *A 60 B 60 C 60"


def test_metadata_patch_that_makes_the_metadata_too_large_is_refused() -> None:
    session = play(spec("global"), "0 start")
    for n in range(4):
        session.do(T0 + n, UpdateMetadata({f"{n}": "é" * 5_000}))
    assert session.lines[-1] == "0.003 !VALIDATION_ERROR"
    assert len(session.state.metadata) == 3


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_metadata_of_32_kib_is_accepted_and_one_byte_more_is_refused(more: int, is_refused: bool) -> None:
    session = play(spec("global", "A"), "0 start")
    session.do(T0 + 1, UpdateMetadata({"a": "x" * 16_384}))
    rest = 32 * 1024 - len('{"a":"","b":""}') - 16_384 + more
    decision = session.do(T0 + 2, UpdateMetadata({"b": "x" * rest}))
    assert (decision.refusal is not None) == is_refused
