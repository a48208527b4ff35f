"""The sessions known from before: only ever what the document says, and never too many."""

import orjson

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.creation import create
from synckairos.clock.model import Session, SyncMode
from synckairos.service.session_cache import SessionCache
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import extract_participants, parse_session, participants_json, render_session
from synckairos.wire.snapshot import Snapshot


def session(name: str, display_name: str = ',"groups":[') -> Session:
    spec = Create(SyncMode.PER_PARTICIPANT, (NewParticipant("p", total_time_ms=1_000, display_name=display_name),))
    return create(spec, name, "epoch", 1_000).state


def snapshot_of(rendered: RenderedSession) -> Snapshot:
    return Snapshot("epoch", rendered.session.version, rendered.document)


def test_the_same_bytes_are_parsed_once() -> None:
    parsed, rendered = SessionCache(), RenderedSession.render(session("a"))
    assert parsed.held("a") is None
    assert parsed.of("a", rendered.document).session == rendered.session
    parsed.keep("a", snapshot_of(rendered), rendered)
    assert parsed.of("a", bytes(bytearray(rendered.document))) is rendered
    assert parsed.held("a") == snapshot_of(rendered)


def test_other_bytes_are_parsed_whatever_was_known() -> None:
    parsed, rendered, other = SessionCache(), RenderedSession.render(session("a")), session("a", "somebody else")
    parsed.keep("a", snapshot_of(rendered), rendered)
    assert parsed.of("a", render_session(other)).session == other


def test_what_was_seen_longest_ago_is_forgotten_first() -> None:
    known = {name: RenderedSession.render(session(name)) for name in "abc"}
    parsed = SessionCache(max_bytes=2 * len(known["a"].document))
    for name in ("a", "b", "a", "c"):
        parsed.keep(name, snapshot_of(known[name]), known[name])
    assert parsed.of("a", known["a"].document) is known["a"]
    assert parsed.held("b") is None
    assert parsed.of("b", known["b"].document) is not known["b"]
    assert parsed.of("c", known["c"].document) is known["c"]


def test_the_participants_are_cut_out_of_a_document_whatever_their_names() -> None:
    state = session("a")
    document = render_session(state)
    assert parse_session(document) == state
    assert extract_participants(document) == orjson.dumps(participants_json(state))
