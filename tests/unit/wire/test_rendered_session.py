"""Rendered sessions: a version that reuses the version before has the same document as a fully rendered version."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synckairos.clock import creation, engine
from synckairos.clock.commands import Adjust, Command, Create, NewParticipant, Start, Switch
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.plan_item import PlanItem
from synckairos.wire.document_merge_patch import make_keyed_patch, parse_keyed_document
from synckairos.wire.document_splices import apply_message_body
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from tests.unit.clock.histories import Bytes
from tests.unit.clock.script import T0
from tests.unit.wire.large_sessions import random_large_history


@settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=120, max_size=120))
def test_a_version_that_reuses_the_version_before_equals_the_fully_rendered_version(tape: bytes) -> None:
    states = [transition.state for transition in random_large_history(Bytes(tape))]
    known = RenderedSession.render(states[0])
    for state in states[1:]:
        after = known.render_next(state)
        assert after.document == render_session(state)
        if after.splices:
            assert apply_message_body(known.document, after.splices) == after.document
            patch = make_keyed_patch(parse_keyed_document(known.document), parse_keyed_document(after.document))
            assert (orjson.loads(after.patch) if after.patch else None) == patch
        known = after


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(st.binary(min_size=120, max_size=120), st.integers(1, 3))
def test_a_document_parsed_with_the_help_of_another_version_equals_the_parsed_document(tape: bytes, step: int) -> None:
    known = None
    for transition in list(random_large_history(Bytes(tape)))[::step]:
        document = render_session(transition.state)
        known = RenderedSession.parse(document, known)
        assert known.session == parse_session(document)
        assert known.document == document


def running(metadata: dict[str, Any]) -> Session:
    """Return a running session with 1,000 participants."""
    participants = tuple(NewParticipant(f"{at:036d}", total_time_ms=3_600_000) for at in range(1_000))
    spec = Create(SyncMode.PER_PARTICIPANT, participants, metadata=metadata)
    return engine.apply(creation.create(spec, "s", "e", T0).state, Start(), T0).own[0].state


def after(state: Session, command: Command) -> Session:
    """Return the state after a command that is applied 1.5 s later."""
    return engine.apply(state, command, state.updated_at_ms + 1_500).own[0].state


def test_a_switch_among_1000_participants_has_small_splices_and_patch() -> None:
    known = RenderedSession.render(running({"large": "x" * 30_000}))
    switched = known.render_next(after(known.session, Switch()))
    assert 0 < len(switched.splices) < 2_000
    assert 0 < len(switched.patch) < 1_000


def test_a_switch_in_a_plan_of_1000_items_has_small_splices_and_patch() -> None:
    plan = tuple(PlanItem(f"{at:064}", 3_600_000, "x" * 200) for at in range(1_000))
    spec = Create(SyncMode.PER_CYCLE, (NewParticipant("a"), NewParticipant("b")), plan=plan)
    started = engine.apply(creation.create(spec, "s", "e", T0).state, Start(), T0).own[0].state
    known = RenderedSession.render(started)
    switched = known.render_next(after(started, Switch(item_id=plan[998].item_id)))
    assert 0 < len(switched.splices) < 4_000
    assert 0 < len(switched.patch) < 1_500
    assert RenderedSession.parse(switched.document, known).session == switched.session


def test_a_parsed_version_renders_the_next_version() -> None:
    document = render_session(running({}))
    known = RenderedSession.parse(document)
    assert known.render_next(after(known.session, Switch())).document == render_session(after(known.session, Switch()))


def test_parsing_with_the_help_of_another_version_shares_unchanged_participants() -> None:
    known = RenderedSession.render(running({}))
    document = render_session(after(known.session, Switch()))
    parsed = RenderedSession.parse(document, known).session
    assert parsed == parse_session(document)
    assert sum(old is new for old, new in zip(known.session.participants, parsed.participants, strict=True)) == 998


def test_a_change_of_all_participants_has_no_splices() -> None:
    known = RenderedSession.render(running({}))
    adjusted = known.render_next(after(known.session, Adjust(1_000)))
    assert adjusted.document == render_session(adjusted.session)
    assert not adjusted.splices


def test_a_null_in_metadata_gives_splices_but_no_patch() -> None:
    known = RenderedSession.render(running({"a": [None]}))
    switched = known.render_next(after(known.session, Switch()))
    assert not switched.patch
    assert apply_message_body(known.document, switched.splices) == switched.document


def test_splices_for_another_document_are_refused() -> None:
    known = RenderedSession.render(running({}))
    switched = known.render_next(after(known.session, Switch()))
    with pytest.raises(ValueError, match="are for a document of"):
        apply_message_body(known.document + b" ", switched.splices)
