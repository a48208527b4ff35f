"""Recovery: the next version, a new epoch, and the charge of the outage by the operator's outage policy."""

import pytest

from synckairos.clock.commands import Create, Expire, NewGroup, NewParticipant, Pause, Start
from synckairos.clock.creation import create
from synckairos.clock.engine import apply
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.recover_lost_session import OutageChargePolicy, recover_session
from synckairos.clock.transition import EventType
from synckairos.frozen_replace import replace

OUTAGE_MS = 40_000
TWO = (NewParticipant("a", total_time_ms=60_000), NewParticipant("b", total_time_ms=60_000))
SPECS = {
    "per_participant": Create(SyncMode.PER_PARTICIPANT, TWO),
    "per_group": Create(
        SyncMode.PER_GROUP, tuple(replace(p, group_id="g") for p in TWO), groups=(NewGroup("g", total_time_ms=60_000),)
    ),
    "per_cycle": Create(SyncMode.PER_CYCLE, TWO, time_per_cycle_ms=60_000),
    "global": Create(SyncMode.GLOBAL, total_time_ms=60_000),
    "count_up": Create(SyncMode.COUNT_UP, TWO, max_time_ms=60_000),
}


def running(spec: Create) -> Session:
    state = create(spec, "s", "old", 0).state
    return apply(state, Start(), 1_000).own[0].state


def running_budget_ms(state: Session) -> int | None:
    """Return the remaining time of the running budget in ms, None if no budget runs."""
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            return state.participants[0].remaining_ms
        case SyncMode.PER_GROUP:
            return state.groups[0].remaining_ms
        case _:
            return state.remaining_ms


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize(
    ("policy", "left_ms"),
    [
        (OutageChargePolicy("charge"), 20_000),
        (OutageChargePolicy("freeze"), 60_000),
        (OutageChargePolicy("credit", 15_000), 35_000),
    ],
    ids=lambda each: getattr(each, "kind", each),
)
def test_recovery_charges_the_outage_by_the_policy(spec: Create, policy: OutageChargePolicy, left_ms: int) -> None:
    known = running(spec)
    now_ms = 1_000 + OUTAGE_MS
    transition = recover_session(known, "new", now_ms, policy)
    assert (transition.state.version, transition.state.epoch) == (known.version + 1, "new")
    assert transition.event.type is EventType.SESSION_RECOVERED
    left = apply(transition.state, Pause(), now_ms).own[0].state
    assert running_budget_ms(left) == left_ms


def test_deadline_during_the_outage_keeps_its_instant() -> None:
    known = running(SPECS["global"])
    recovered = recover_session(known, "new", 500_000).state
    (expired,) = apply(recovered, Expire(), 500_000).overdue
    assert expired.state.status is Status.EXPIRED
    assert expired.state.completed_at_ms == 61_000


@pytest.mark.parametrize("kind", ["charge", "freeze", "credit"])
def test_recovery_of_a_session_without_a_running_limit_changes_no_budget(kind: str) -> None:
    policy = OutageChargePolicy(kind, 1_000)  # type: ignore[arg-type]
    pending = create(SPECS["global"], "s", "old", 0).state
    assert recover_session(pending, "new", 9_000, policy).state == replace(
        pending, epoch="new", version=2, updated_at_ms=recover_session(pending, "new", 9_000, policy).event.at_ms
    )
    endless = running(Create(SyncMode.COUNT_UP, TWO))
    assert recover_session(endless, "new", 9_000, policy).state.remaining_ms is None
