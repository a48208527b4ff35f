"""Which versions have an EVENT message: in the second edition, exactly those that time caused, and deletions."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from synckairos.clock import engine
from synckairos.clock.commands import Expire, Pause, Start
from synckairos.clock.model import Session
from synckairos.clock.transition import Transition
from synckairos.frozen_replace import replace
from synckairos.realtime.session_update import SessionUpdate
from synckairos.wire.feed_message import FeedMessage, PackedFeedMessage
from synckairos.wire.outbox_entry import CommitCause, OutboxEntry, render_event
from synckairos.wire.session_json import render_session
from tests.unit.docs.event_runs import T0, A, B, Produced, Step, created, play

BY_TIME = CommitCause("timekeeper", "expire")
START: Step = (0, "start", {})
HALF_A_DAY_MS = 43_200_000


def message_of(produced: Produced) -> FeedMessage:
    """Return the feed message of a version, as another instance reads it."""
    document = render_session(produced.transition.state)
    sent = FeedMessage.from_transition(produced.transition, document, is_by_time=produced.cause.is_time)
    received = PackedFeedMessage.parse(sent.render_header() + document).apply_to(b"")
    assert received == sent
    return received


def shown(message: FeedMessage) -> bool:
    return SessionUpdate.from_message(message, T0).is_event


def events_of(produced: Sequence[Produced]) -> list[tuple[int, str]]:
    """Return the version and the event type of each version with an EVENT message."""
    return [(each.transition.state.version, each.event_type) for each in produced if shown(message_of(each))]


@pytest.mark.parametrize(
    ("mode", "steps", "fields", "expected"),
    [
        pytest.param(
            "per_participant",
            [START, (HALF_A_DAY_MS, "expire", {})],
            {"rest": {"weekdays": [6]}},
            [(3, "session_paused"), (4, "session_resumed")],
            id="rest",
        ),
        pytest.param(
            "global",
            [START, (1_000, "pause", {"max_ms": 500}), (2_000, "expire", {})],
            {},
            [(4, "session_resumed")],
            id="pause with max_ms",
        ),
        pytest.param("global", [START, (1_000, "pause", {}), (2_000, "resume", {})], {}, [], id="pause by command"),
        pytest.param(
            "global", [START, (60_000, "expire", {})], {"on_timeout": "pause"}, [(3, "session_paused")], id="zero"
        ),
        pytest.param("per_participant", [START, (1_000, "complete", {})], {}, [], id="completion by command"),
        pytest.param(
            "per_participant",
            [START, (1_000, "expire", {})],
            {"free_first_turn": {"limit_ms": 1_000}},
            [(3, "session_cancelled")],
            id="limit of a free first turn",
        ),
        pytest.param(
            "per_participant",
            [START, (500, "cancel", {})],
            {"free_first_turn": {"limit_ms": 1_000}},
            [],
            id="cancellation by command",
        ),
        pytest.param(
            "individual",
            [START, (1_000, "pause", {"participant_ids": [A], "max_ms": 500}), (2_000, "expire", {})],
            {},
            [(4, "participant_resumed")],
            id="pause of a clock with max_ms",
        ),
        pytest.param(
            "individual",
            [START, (1_000, "pause", {"participant_ids": [A]}), (2_000, "resume", {"participant_ids": [A]})],
            {},
            [],
            id="pause of a clock by command",
        ),
        pytest.param(
            "individual",
            [START, (1_000, "finish", {"participant_ids": [A]}), (60_000, "expire", {})],
            {},
            [(4, "session_completed")],
            id="last clock by time",
        ),
        pytest.param(
            "individual", [START, (1_000, "finish", {"participant_ids": [A, B]})], {}, [], id="last clocks by command"
        ),
        pytest.param("global", [START, (1_000, "delete", {})], {}, [(3, "session_deleted")], id="deletion"),
    ],
)
def test_events_by_time_and_deletions_have_a_message(
    mode: str, steps: list[Step], fields: dict[str, Any], expected: list[tuple[int, str]]
) -> None:
    assert events_of(play(mode, steps, **fields)) == expected


def test_pause_by_time_has_no_message_in_the_first_edition() -> None:
    state = replace(created("global").transition.state, turn_number=None)
    (started,) = engine.apply(state, Start(), T0).own
    (paused,) = engine.apply(started.state, Pause(max_ms=500), T0 + 1_000).own
    (resumed,) = _due(paused.state, T0 + 2_000)
    assert resumed.event.type == "session_resumed"
    (expired,) = _due(resumed.state, T0 + 90_000)
    produced = [Produced(each, BY_TIME) for each in (resumed, expired)]
    assert events_of(produced) == [(5, "session_expired")]


def _due(state: Session, now_ms: int) -> tuple[Transition, ...]:
    return engine.apply(state, Expire(), now_ms).overdue


def test_start_by_time_of_an_earlier_release_has_a_message_although_its_cause_is_missing() -> None:
    produced = play("global", [(1_000, "expire", {})], starts_at="2026-01-31T12:00:01.000Z")[-1]
    assert shown(replace(message_of(produced), is_by_time=False))
    by_caller = play("global", [(500, "start", {})], starts_at="2026-01-31T12:00:01.000Z")[-1]
    assert not shown(message_of(by_caller))


def test_pause_by_time_of_an_earlier_release_has_no_message() -> None:
    paused = play("global", [START, (60_000, "expire", {})], on_timeout="pause")[-1]
    header = orjson.loads(message_of(paused).render_header())
    assert header.pop("by_time") is True
    packed = orjson.dumps(header | {"member_of_a_later_release": 1}) + b"\n" + render_session(paused.transition.state)
    assert not shown(PackedFeedMessage.parse(packed).apply_to(b""))


def test_message_from_the_outbox_says_the_same_cause_and_charges() -> None:
    for produced in play("global", [START, (60_000, "expire", {})], on_timeout="pause"):
        document, after = render_session(produced.transition.state), produced.transition.state
        entry = OutboxEntry(
            after.session_id, after.epoch, after.version, render_event(produced.transition, produced.cause), document
        )
        assert entry.to_feed_message() == message_of(produced)
