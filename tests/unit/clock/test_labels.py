"""Labels: the command `update_session`, and the sessions that have no labels."""

import pytest

from synckairos.clock.commands import Start, UpdateSession
from synckairos.clock.first_edition_compatibility import as_first_edition
from synckairos.clock.update_session import MAX_LABELS
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.script import T0, play, spec


def test_labels_change_by_a_merge_patch_in_one_version_with_the_metadata() -> None:
    session = play(spec("global", labels={"round": "1", "hall": "b"}, metadata={"a": 1}), "0 start")
    session.do(T0 + 1, UpdateSession({"round": "2", "hall": None, "é": "x"}, {"b": 2}))
    assert session.state.labels == {"round": "2", "é": "x"}
    assert session.state.metadata == {"a": 1, "b": 2}
    assert session.state.version == 3
    assert session.lines[-1] == "0.001 updated"
    assert session.state.anchor_ms == T0, "the clock does not change"


def test_patch_without_a_change_makes_no_version() -> None:
    session = play(spec("global", labels={"round": "1"}, metadata={"a": 1}), "0 start")
    for patch in (UpdateSession({"round": "1"}), UpdateSession({"hall": None}), UpdateSession({}, {"a": 1})):
        decision = session.do(T0 + 1, patch)
        assert (decision.all_transitions, decision.refusal) == ((), None)


def test_final_session_accepts_labels() -> None:
    session = play(spec("global"), "0 start; 1 complete")
    assert session.do(T0 + 2_000, UpdateSession({"round": "2"})).refusal is None
    assert session.state.labels == {"round": "2"}


def test_more_labels_than_the_maximum_are_refused_and_nothing_changes() -> None:
    session = play(spec("global", labels={f"k{n}": "v" for n in range(MAX_LABELS)}), "0 start")
    before = session.state
    refusal = session.do(T0 + 1, UpdateSession({"more": "v"}, {"a": 1})).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"
    assert session.state == before
    assert session.do(T0 + 1, UpdateSession({"more": "v", "k0": None})).refusal is None


def test_session_of_the_first_edition_has_no_labels() -> None:
    session = play(spec("global", labels={"round": "1"}), "0 start")
    session.state = as_first_edition(session.state)
    assert session.state.labels == {}
    refusal = session.do(T0 + 1, UpdateSession({"round": "2"})).refusal
    assert refusal is not None
    assert refusal.code == "VALIDATION_ERROR"


@pytest.mark.parametrize("labels", [{}, {"round": '1","turn":{"used_ms":'}, {"a": "}", "b": "é"}])
def test_document_with_labels_is_parsed_to_the_same_state(labels: dict[str, str]) -> None:
    session = play(spec("global", labels=labels), "")
    session.do(T0, Start())
    document = render_session(session.state)
    assert parse_session(document) == session.state
    assert (b'"labels"' in document) == bool(labels)
