"""The sessions known from before: only ever what the document says, and never too many."""

import orjson

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.membership import create
from synckairos.clock.model import Session, SyncMode
from synckairos.parsed import Parsed
from synckairos.wire.session import parse_session, participants_json, participants_of, render_session


def session(name: str, display_name: str = ',"groups":[') -> Session:
    spec = Create(SyncMode.PER_PARTICIPANT, (NewParticipant("p", total_time_ms=1_000, display_name=display_name),))
    return create(spec, name, "epoch", 1_000).state


def test_the_same_bytes_are_parsed_once() -> None:
    parsed, state = Parsed(), session("a")
    document = render_session(state)
    assert parsed.of("a", document) == state
    parsed.keep("a", document, state)
    assert parsed.of("a", document) is state


def test_other_bytes_are_parsed_whatever_was_known() -> None:
    parsed, state, other = Parsed(), session("a"), session("a", "somebody else")
    parsed.keep("a", render_session(state), state)
    assert parsed.of("a", render_session(other)) == other


def test_what_was_seen_longest_ago_is_forgotten_first() -> None:
    states = {name: session(name) for name in "abc"}
    documents = {name: render_session(state) for name, state in states.items()}
    parsed = Parsed(max_bytes=2 * len(documents["a"]))
    for name in ("a", "b", "a", "c"):
        parsed.keep(name, documents[name], states[name])
    assert parsed.of("a", documents["a"]) is states["a"]
    assert parsed.of("b", documents["b"]) is not states["b"]
    assert parsed.of("c", documents["c"]) is states["c"]


def test_the_participants_are_cut_out_of_a_document_whatever_their_names() -> None:
    state = session("a")
    document = render_session(state)
    assert parse_session(document) == state
    assert participants_of(document) == orjson.dumps(participants_json(state))
