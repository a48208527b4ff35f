"""A document made of the one before is the one that rendering makes, and what led there says so to anybody."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synckairos.clock import creation, engine
from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import Adjust, Command, Create, NewParticipant, Start, Switch
from synckairos.clock.model import Session, SyncMode, Transition
from synckairos.wire.document_merge_patch import key_by_id, make_patch
from synckairos.wire.document_parts import DocumentParts, changed_parts
from synckairos.wire.document_splices import apply_body
from synckairos.wire.rendered_session import SPLICING_MIN_PARTICIPANTS, RenderedSession
from synckairos.wire.session_json import parse_session, render_session
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0

ODD = ',"groups":[ },{"participant_id": ],"active_participant_id": ,"metadata": ,"turn":{"used_ms":'
"""What documents are cut by, where it means nothing."""


def crowd(spec: Create) -> Create:
    """Return a creation with so many more participants that versions are made of those before."""
    if isinstance(spec.clock, Hourglass):
        return spec  # for exactly two
    few = spec.participants
    more = (
        replace(few[at % len(few)], participant_id=f"E{at}", display_name=ODD)
        for at in range(2 * SPLICING_MIN_PARTICIPANTS)
    )
    return replace(spec, participants=(*few, *more), metadata={ODD: [{ODD: ODD}]})


def many_switching(tape: Bytes) -> Iterator[Transition]:
    """Yield what happens in a random history of a session with a crowd, creation first."""
    transition = creation.create(crowd(draw_creation(tape)), "s", "e", T0)
    yield transition
    now_ms, state = T0, transition.state
    for wait_ms, command, _ in commands(tape, 12):
        now_ms += wait_ms
        for transition in engine.apply(state, command, now_ms).transitions:
            state = transition.state
            if state.deleted:
                return
            yield transition


@settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=120, max_size=120))
def test_what_is_made_of_the_version_before_is_what_rendering_makes(tape: bytes) -> None:
    states = [transition.state for transition in many_switching(Bytes(tape))]
    known = RenderedSession.render(states[0])
    for state in states[1:]:
        after = known.render_next(state)
        assert after.document == render_session(state)
        if after.splices:
            assert apply_body(known.document, after.splices) == after.document
            patch = make_patch(key_by_id(known.document), key_by_id(after.document))
            assert (orjson.loads(after.patch) if after.patch else None) == patch
        known = after


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(st.binary(min_size=120, max_size=120))
def test_rows_make_the_document_again_and_differ_where_it_does(tape: bytes) -> None:
    documents = [render_session(transition.state) for transition in many_switching(Bytes(tape))]
    for document in documents:
        assert DocumentParts.parse(document).join() == document
    for before, after in pairwise(documents):
        old, new = (each.join() for each in changed_parts(DocumentParts.parse(before), DocumentParts.parse(after)))
        assert make_patch(key_by_id(old), key_by_id(new)) == make_patch(key_by_id(before), key_by_id(after))
        assert len(new) <= len(after)


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(st.binary(min_size=120, max_size=120), st.integers(1, 3))
def test_what_is_parsed_beside_another_version_is_what_it_says(tape: bytes, step: int) -> None:
    known = None
    for transition in list(many_switching(Bytes(tape)))[::step]:
        document = render_session(transition.state)
        known = RenderedSession.parse(document, known)
        assert known.session == parse_session(document)
        assert known.document == document


def running(metadata: dict[str, Any]) -> Session:
    people = tuple(NewParticipant(f"{at:036d}", total_time_ms=3_600_000) for at in range(1_000))
    spec = Create(SyncMode.PER_PARTICIPANT, people, metadata=metadata)
    return engine.apply(creation.create(spec, "s", "e", T0).state, Start(), T0).own[0].state


def after(state: Session, command: Command) -> Session:
    return engine.apply(state, command, state.updated_at_ms + 1_500).own[0].state


def test_a_switch_is_said_in_its_own_size() -> None:
    known = RenderedSession.render(running({"large": "x" * 30_000}))
    switched = known.render_next(after(known.session, Switch()))
    assert 0 < len(switched.splices) < 2_000
    assert 0 < len(switched.patch) < 1_000


def test_what_was_parsed_can_be_gone_on_from() -> None:
    document = render_session(running({}))
    known = RenderedSession.parse(document)
    assert known.render_next(after(known.session, Switch())).document == render_session(after(known.session, Switch()))


def test_parsing_beside_another_version_shares_what_it_has() -> None:
    known = RenderedSession.render(running({}))
    document = render_session(after(known.session, Switch()))
    parsed = RenderedSession.parse(document, known).session
    assert parsed == parse_session(document)
    assert sum(old is new for old, new in zip(known.session.participants, parsed.participants, strict=True)) == 998


def test_what_changes_everybody_goes_whole() -> None:
    known = RenderedSession.render(running({}))
    adjusted = known.render_next(after(known.session, Adjust(1_000)))
    assert adjusted.document == render_session(adjusted.session)
    assert not adjusted.splices


def test_a_null_that_is_meant_leaves_the_patch_out_and_not_the_splices() -> None:
    known = RenderedSession.render(running({"a": [None]}))
    switched = known.render_next(after(known.session, Switch()))
    assert not switched.patch
    assert apply_body(known.document, switched.splices) == switched.document


def test_splices_for_another_document_are_refused() -> None:
    known = RenderedSession.render(running({}))
    switched = known.render_next(after(known.session, Switch()))
    with pytest.raises(ValueError, match="are for a document of"):
        apply_body(known.document + b" ", switched.splices)


def test_a_document_instead_of_splices_takes_its_place() -> None:
    assert apply_body(b"anything", b'{"version":2}') == b'{"version":2}'
