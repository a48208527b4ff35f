"""Charges travel unchanged through all forms, and an EVENT frame shows the charges of an expiry."""

from dataclasses import astuple

import msgspec
import orjson
import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import Expire, Start, Switch
from synckairos.clock.transition import Charge, Transition
from synckairos.wire.charges_json import charge_rows, charges_from_json, charges_json, parse_charge_rows
from synckairos.wire.feed_message import FeedMessage, PackedFeedMessage
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session
from synckairos.wire.v3_messages import event_frame
from synckairos.wire.websocket_frames import extract_text_payload
from synckairos_client.replica import SessionReplica
from tests.unit.clock.script import T0, spec

A_MINUTE = Charge("A", T0, T0 + 60_000)


def played(command: Switch | Expire, at_ms: int) -> Transition:
    """Return the transition of a command, or of time, `at_ms` after the start of a session."""
    created = creation.create(spec("per_participant", "A B"), "s", "e", T0)
    (started,) = engine.apply(created.state, Start(), T0).own
    (transition,) = engine.apply(started.state, command, T0 + at_ms).all_transitions
    return transition


@pytest.mark.parametrize("charges", [(), (A_MINUTE,), (A_MINUTE, Charge("B", T0 - 1, T0))])
def test_each_form_of_charges_is_read_as_it_was_written(charges: tuple[Charge, ...]) -> None:
    assert parse_charge_rows(orjson.loads(orjson.dumps(charge_rows(charges)))) == charges
    assert charges_from_json(orjson.loads(orjson.dumps(charges_json(charges)))) == charges


@pytest.mark.parametrize("row", [["A", 1], ["A", 1, 2, 3], [1, 1, 2], ["A", 1.5, 2], ["A", True, 2]])
def test_malformed_charges_are_refused(row: list[object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        parse_charge_rows([row])


def test_expiry_charges_up_to_its_deadline_in_the_feed_and_in_the_frame_of_the_client() -> None:
    expiry = played(Expire(), 99_000)
    assert expiry.event.charges == (A_MINUTE,)
    message = FeedMessage.from_transition(expiry, b"{}")
    received = PackedFeedMessage.parse(message.render_header() + b"{}").message
    assert received.charges == (A_MINUTE,)
    frame = orjson.loads(extract_text_payload(event_frame(received, T0)))
    happened = SessionReplica().keep_event(frame)
    assert happened is not None
    assert [astuple(each) for each in happened.charges] == [msgspec.structs.astuple(A_MINUTE)]


def test_charges_of_a_switch_are_in_the_outbox_and_not_in_the_feed() -> None:
    switched = played(Switch(), 1_500)
    entry = OutboxEntry("s", "e", 3, render_event(switched, CommitCause("a", "switch")), render_session(switched.state))
    assert entry.to_clock_event().charges == switched.event.charges == (Charge("A", T0, T0 + 1_500),)
    assert b"charges" not in FeedMessage.from_transition(switched, b"{}").render_header()


def test_entry_of_the_previous_release_does_not_say_its_charges() -> None:
    switched = played(Switch(), 1_500)
    fields = orjson.loads(render_event(switched, CommitCause("a", "switch")))
    del fields["charges"]
    entry = OutboxEntry("s", "e", 3, orjson.dumps(fields), render_session(switched.state))
    entry.check_event_and_document()
    assert entry.to_clock_event().charges is None
