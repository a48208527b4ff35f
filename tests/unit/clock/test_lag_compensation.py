"""Lag compensation: limited by a quota, by the lag that the server measured, and by the time of the turn."""

from typing import Any

import pytest

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, PerMove, SuddenDeath
from synckairos.clock.commands import Create, Expire, Switch
from synckairos.clock.lag_compensation import LagAccount, compensate_lag, limit_lag_claim, open_lag_account
from synckairos.clock.model import OnTimeout, Status
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from synckairos.clock.transition import EventType
from synckairos.clock.upcoming_event import next_upcoming_event
from tests.unit.clock.script import MINUTE, T0, Played, command, play, spec


@pytest.mark.parametrize(
    ("system", "budget_ms", "gain_ms"),
    [
        (SuddenDeath(), 0, 150),
        (SuddenDeath(), MINUTE, 390),
        (SuddenDeath(), MINUTE + 249, 390),
        (SuddenDeath(), 3 * MINUTE, 870),
        (SuddenDeath(), 10 * MINUTE, 1_000),
        (Fischer(2_000), MINUTE, 710),
        (Bronstein(1_000), MINUTE, 550),
        (Delay(1_000), MINUTE, 550),
        (PerMove(1_000), 0, 310),
        (Canadian(10, 10_000), MINUTE, 550),
        (Canadian(1, 30_000), 0, 1_000),
        (Byoyomi(5, 30_000), 0, 1_000),
        (Byoyomi(1, 30_000), 0, 1_000),
        (Byoyomi(3, 1_000), MINUTE, 550),
        (Stages((Stage(40, 0, 1_000),)), MINUTE, 550),
        (Stages((Stage(40, 0, delay_ms=1_000),)), MINUTE, 550),
    ],
)
def test_lag_gain_follows_from_the_time_control(system: ClockSystem, budget_ms: int, gain_ms: int) -> None:
    assert open_lag_account(system, budget_ms) == LagAccount(3 * gain_ms, gain_ms)


@pytest.mark.parametrize(
    ("claimed_ms", "measured_ms", "trusted"),
    [(None, None, 0), (None, 50, 0), (90, None, 90), (141, None, 140), (190, 50, 190), (191, 50, 190), (10**9, 0, 140)],
)
def test_lag_claim_counts_up_to_the_measurement_plus_the_tolerance(
    claimed_ms: int | None, measured_ms: int | None, trusted: int
) -> None:
    assert limit_lag_claim(claimed_ms, measured_ms) == trusted


def test_lag_quota_grows_each_turn_up_to_its_maximum() -> None:
    lag = LagAccount(300, 100)
    for quota_ms in (400, 500, 600, 700, 700):
        lag, _ = compensate_lag(lag, "A", 5_000, 0)
        assert lag.quota_ms == quota_ms


def start_compensated(**fields: Any) -> Played:
    """Start a session with lag compensation.

    The budget of one minute gives an initial quota of 1,170 ms and 390 ms per turn.
    """
    return play(spec("per_participant", "A B", lag_compensation=True, **fields), "0 start")


def test_huge_lag_claims_get_only_the_quota() -> None:
    session, honest = start_compensated(), start_compensated()
    for turn in range(1, 41):
        for each, lag_ms in ((session, 10**12), (honest, None)):
            each.do(T0 + turn * 1_000, Switch(lag_ms=lag_ms if turn % 2 else None, measured_lag_ms=10**12))
    spared = session.state.participants[0].remaining_ms - honest.state.participants[0].remaining_ms
    account = session.state.participants[0].lag
    assert account is not None
    assert spared == account.compensated_ms == 1_170 + 20 * 390 - account.quota_ms
    assert session.state.participants[1] == honest.state.participants[1]


def test_lag_receipt_splits_the_turn_into_compensated_and_charged_time() -> None:
    session = start_compensated()
    session.do(T0 + 10_000, Switch(lag_ms=500, measured_lag_ms=100))
    receipt = session.state.lag_receipt
    assert receipt is not None
    assert receipt.participant_id == "A"
    assert (receipt.elapsed_ms, receipt.trusted_lag_ms, receipt.compensated_ms) == (10_000, 240, 240)
    assert (receipt.charged_ms, receipt.quota_left_ms) == (9_760, 1_170 + 390 - 240)
    assert session.state.participants[0].remaining_ms == 60_000 - 9_760
    assert session.state.anchor_ms == T0 + 10_000  # the next turn begins when the server receives the switch
    assert session.state.used_ms == 9_760


def test_lag_compensation_never_exceeds_the_turn_and_never_revokes_an_expiry() -> None:
    session = start_compensated()
    session.do(T0 + 200, Switch(lag_ms=1_000, measured_lag_ms=1_000))
    assert session.state.participants[0].used_ms == 0
    late = start_compensated()
    late.do(T0 + 61_000, Switch(lag_ms=1_000, measured_lag_ms=1_000))
    assert (late.state.status, late.transitions[-1].event.type) == (Status.EXPIRED, EventType.SESSION_EXPIRED)
    assert late.state.lag_receipt is None
    flagged = start_compensated()
    flagged.do(T0 + 61_170, Expire())
    flagged.do(T0 + 61_170, Switch(lag_ms=5_000, measured_lag_ms=5_000))
    assert flagged.state.status is Status.EXPIRED


# -- grace at the flag ------------------------------------------------------------------------------------------------

QUOTA_MS = 1_170
"""The quota of the first turn of `start_compensated`."""


@pytest.mark.parametrize("on_timeout", ["expire", "pause"])
@pytest.mark.parametrize(
    ("late_ms", "lag_ms", "counts"),
    [
        (0, 1, True),
        (0, 0, False),
        (1_000, 1_170, True),  # 61.0 s of a budget of 60 s, with 1.17 s of measured lag
        (1_000, 1_001, True),
        (1_000, 1_000, False),  # the turn ends at the deadline itself
        (QUOTA_MS - 1, 5_000, True),
        (QUOTA_MS, 5_000, False),
    ],
)
def test_press_after_the_deadline_counts_if_its_turn_ended_before(
    on_timeout: str, late_ms: int, lag_ms: int, counts: bool
) -> None:
    session = start_compensated(on_timeout=OnTimeout(on_timeout))
    session.do(T0 + 60_000 + late_ms, Switch(lag_ms=lag_ms, measured_lag_ms=5_000))
    if counts:
        assert session.lines[1:] == [f"{60 + late_ms / 1000:g} cycle_switched A"]
        assert session.remaining("A") == (min(lag_ms, QUOTA_MS) - late_ms) / 1000 > 0
        assert session.state.anchor_ms == T0 + 60_000 + late_ms
    else:
        name = "expired" if on_timeout == "expire" else "paused"
        assert session.lines[1] == f"60 {name} A"
        assert session.lines[2].endswith("consumed by A")


@pytest.mark.parametrize("names_itself", [True, False])
def test_named_press_within_the_grace_counts_as_an_unnamed_one(names_itself: bool) -> None:
    session = start_compensated()
    named = "A" if names_itself else None
    session.do(T0 + 60_500, Switch(current_participant_id=named, lag_ms=600, measured_lag_ms=600))
    assert session.lines[1:] == ["60.5 cycle_switched A"]


def test_zero_is_committed_after_the_grace_and_takes_effect_at_the_deadline() -> None:
    session = start_compensated()
    due = next_upcoming_event(session.state)
    assert due is not None
    assert (due.at_ms, due.committed_at_ms) == (T0 + 60_000, T0 + 60_000 + QUOTA_MS)
    session.do(T0 + 60_000 + QUOTA_MS - 1, Expire())
    assert session.lines == ["0 started A"]
    session.do(T0 + 60_000 + QUOTA_MS, Expire())
    assert session.lines[1:] == ["60 expired A"]
    assert session.state.completed_at_ms == T0 + 60_000


def test_grace_is_at_most_two_seconds() -> None:
    creation = spec("per_participant", "A B", lag_compensation=True, total_time_ms=600_000)
    due = next_upcoming_event(play(creation, "0 start").state)
    assert due is not None
    assert due.grace_ms == 2_000


@pytest.mark.parametrize("text", ["pause", "adjust+5", "merge:{}", "complete", "join:C", "resume", "switch"])
def test_any_other_command_and_a_press_without_lag_commit_the_zero(text: str) -> None:
    session = start_compensated()
    session.do(T0 + 60_100, command(text))
    assert session.lines[1] == "60 expired A"


def test_press_that_names_another_participant_leaves_the_grace() -> None:
    session = start_compensated()
    session.do(T0 + 60_100, Switch(current_participant_id="B", lag_ms=500, measured_lag_ms=500))
    assert session.lines[1:] == ["60.1 !NOT_ACTIVE_PARTICIPANT"]
    session.do(T0 + 60_200, Switch(current_participant_id="A", lag_ms=500, measured_lag_ms=500))
    assert session.lines[2:] == ["60.2 cycle_switched A"]


@pytest.mark.parametrize(
    "creation",
    [
        spec("per_participant", "A B"),
        spec("per_participant", "A B", lag_compensation=True, edition=1),
        spec("per_participant", "A B", "advance", lag_compensation=True),
        spec("per_participant", "A B", "overtime", lag_compensation=True),
        spec("per_cycle", "A B"),
    ],
)
def test_other_sessions_have_no_grace(creation: Create) -> None:
    due = next_upcoming_event(play(creation, "0 start").state)
    assert due is not None
    assert (due.grace_ms, due.committed_at_ms) == (0, due.at_ms)


def test_warning_before_the_zero_is_on_time() -> None:
    session = start_compensated(warnings_ms=(10_000,))
    session.do(T0 + 50_000, Expire())
    assert session.lines[1:] == ["50 time_warning A"]


@pytest.mark.parametrize("at_s", [0, 70])
def test_turn_without_elapsed_time_gets_no_compensation(at_s: int) -> None:
    session = start_compensated(
        on_timeout="pause"
    )  # after a minute the session is paused at zero, where a switch is allowed
    session.do(T0 + at_s * 1_000, Expire())
    session.do(T0 + at_s * 1_000, Switch(lag_ms=500, measured_lag_ms=500))
    receipt = session.state.lag_receipt
    assert receipt is not None
    assert (receipt.elapsed_ms, receipt.compensated_ms, receipt.charged_ms) == (0, 0, 0)


def test_session_without_lag_compensation_charges_the_full_turn() -> None:
    plain = play(spec("per_participant", "A B"), "0 start")
    plain.do(T0 + 10_000, Switch(lag_ms=500))
    assert plain.state.participants[0].remaining_ms == 50_000
    assert plain.state.lag_receipt is None


@pytest.mark.parametrize(("budget_ms", "gain_ms"), [(249, 150), (250, 151), (212_499, 999), (10**9, 1_000)])
def test_early_rule_of_gains_does_not_count_byoyomi_periods(budget_ms: int, gain_ms: int) -> None:
    account = open_lag_account(Byoyomi(5, 30_000), budget_ms, counts_byoyomi=False)
    assert account.gain_ms == gain_ms
