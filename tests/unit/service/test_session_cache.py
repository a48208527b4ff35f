"""The session cache: it returns only the session of the same bytes, and its size is bounded."""

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.creation import create
from synckairos.clock.model import Session, SyncMode
from synckairos.service.session_cache import SessionCache
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import render_session
from synckairos.wire.snapshot import SessionSnapshot


def session(name: str, display_name: str = ',"groups":[') -> Session:
    spec = Create(SyncMode.PER_PARTICIPANT, (NewParticipant("p", total_time_ms=1_000, display_name=display_name),))
    return create(spec, name, "epoch", 1_000).state


def snapshot_of(rendered: RenderedSession) -> SessionSnapshot:
    return SessionSnapshot("epoch", rendered.session.version, rendered.document)


def test_equal_bytes_return_the_cached_session() -> None:
    cache, rendered = SessionCache(), RenderedSession.render(session("a"))
    assert cache.find_snapshot("a") is None
    assert cache.parse_cached("a", rendered.document).session == rendered.session
    cache.put("a", snapshot_of(rendered), rendered)
    assert cache.parse_cached("a", bytes(bytearray(rendered.document))) is rendered
    assert cache.find_snapshot("a") == snapshot_of(rendered)


def test_other_bytes_are_parsed_again() -> None:
    cache, rendered, other = SessionCache(), RenderedSession.render(session("a")), session("a", "another name")
    cache.put("a", snapshot_of(rendered), rendered)
    assert cache.parse_cached("a", render_session(other)).session == other


def test_least_recently_used_session_is_removed_first() -> None:
    known = {name: RenderedSession.render(session(name)) for name in "abc"}
    cache = SessionCache(max_bytes=2 * len(known["a"].document))
    for name in ("a", "b", "a", "c"):
        cache.put(name, snapshot_of(known[name]), known[name])
    assert cache.parse_cached("a", known["a"].document) is known["a"]
    assert cache.find_snapshot("b") is None
    assert cache.parse_cached("b", known["b"].document) is not known["b"]
    assert cache.parse_cached("c", known["c"].document) is known["c"]
