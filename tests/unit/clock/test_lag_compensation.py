"""Lag compensation: limited by a quota, by the lag that the server measured, and by the time of the turn."""

from typing import Any

import pytest

from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, PerMove, SuddenDeath
from synckairos.clock.commands import Expire, Switch
from synckairos.clock.lag_compensation import LagAccount, compensate_lag, limit_lag_claim, open_lag_account
from synckairos.clock.model import EventType, Status
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stage, Stages
from tests.unit.clock.script import MINUTE, T0, Played, play, spec


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
    late.do(T0 + 60_001, Switch(lag_ms=1_000, measured_lag_ms=1_000))
    assert (late.state.status, late.transitions[-1].event.type) == (Status.EXPIRED, EventType.SESSION_EXPIRED)
    assert late.state.lag_receipt is None


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
