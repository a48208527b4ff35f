"""The default rate limits: they never refuse games, classrooms and backends, but they refuse a scraper."""

from collections.abc import Iterable

import pytest

from synckairos.config import Settings
from synckairos.errors import RateLimitExceeded
from synckairos.limits.token_bucket import TokenBucket
from synckairos.store import rate_limited_clients
from synckairos.store.keys import Keys
from synckairos.store.rate_limited_clients import LimitedClients
from synckairos.store.rate_meter import RateLimitStatus, RateMeter
from synckairos.store.rate_quotas import Quota, Rate, general_rate, switch_rate

DEFAULTS = Settings()
GENERAL, SWITCH = general_rate(DEFAULTS.rate_limit_general), switch_rate(DEFAULTS.rate_limit_switch)


def refused(rate: Rate, instants_s: Iterable[float]) -> int:
    """Return the number of requests that a bucket refuses, if the bucket is full at first."""
    bucket = TokenBucket(rate.per_s, rate.burst)
    return sum(not bucket.take(1, at_s) for at_s in sorted(instants_s))


def every(interval_s: float, seconds: float, start_s: float = 0.0) -> list[float]:
    """Return instants with a regular interval, in seconds."""
    return [start_s + at * interval_s for at in range(int(seconds / interval_s))]


# -- presses: the limit of the session --------------------------------------------------------------------------------


def test_presses_every_110_ms_are_never_refused() -> None:
    assert refused(SWITCH, every(0.11, 600)) == 0


def test_two_players_that_press_at_the_same_instants_in_a_scramble_are_never_refused() -> None:
    assert refused(SWITCH, every(0.1, 60) * 2) == 0


def test_forty_bids_in_the_last_second_of_an_auction_are_never_refused() -> None:
    calm = every(0.5, 60)
    assert refused(SWITCH, calm + every(1 / 40, 1, start_s=60)) == 0
    assert refused(SWITCH, [*every(5, 60), *[61.0] * 40]) == 0


def test_presses_of_a_machine_are_accepted_only_at_the_rate() -> None:
    presses = every(0.001, 10)
    assert len(presses) - refused(SWITCH, presses) == pytest.approx(SWITCH.burst + 10 * SWITCH.limit, abs=2)


# -- all other requests: the limit of the client ----------------------------------------------------------------------


def test_classroom_behind_one_address_is_never_refused() -> None:
    opening = [at for pupil in range(35) for at in [pupil * 0.01] * 20]
    lesson = [at for pupil in range(35) for at in every(2, 45 * 60, start_s=pupil * 0.05)]
    assert refused(GENERAL, opening + lesson) == 0


def test_backend_that_creates_and_reads_300_boards_is_never_refused() -> None:
    round_begins = [at for board in range(300) for at in [board * 0.001] * 3]
    reads = [at for board in range(300) for at in every(5, 600, start_s=board * 0.01)]
    assert refused(GENERAL, round_begins + reads) == 0


def test_requests_of_a_scraper_are_accepted_only_at_the_rate_after_the_first_burst() -> None:
    reads = every(0.0025, 300)
    answered = len(reads) - refused(GENERAL, reads)
    assert answered == pytest.approx(GENERAL.burst + 300 * GENERAL.per_s, abs=2)
    assert answered < len(reads) / 3


# -- the meter of a press ---------------------------------------------------------------------------------------------


def press() -> RateMeter:
    meter = RateMeter.for_press(Quota(GENERAL, "192.0.2.1"), Quota(SWITCH, "s"))
    take, look = meter.build_count_commands(Keys())
    assert take[3:] == ("sk:{0}:bucket:switch:s", *SWITCH.script_arguments, 1)
    assert look == ("PTTL", "sk:{0}:bucket:general:192.0.2.1")
    return meter


def test_accepted_press_takes_no_token_of_the_general_quota() -> None:
    meter = press()
    meter.record_replies([[1, 39, 0, 33_334], 60_000])
    meter.raise_if_exceeded()
    assert [(status.limit, status.remaining) for status in meter.statuses] == [(40, 39)]


@pytest.mark.parametrize(("ttl_ms", "remaining"), [(-2, 5_999), (-1, 5_999), (10_000, 4_999), (59_990, 0)])
def test_press_without_an_effect_takes_one_token_of_the_general_quota(ttl_ms: int, remaining: int) -> None:
    meter = press()
    meter.record_replies([[1, 39, 0, 33_334], ttl_ms])
    assert meter.take_unpaid_general_quota() == Quota(GENERAL, "192.0.2.1")
    assert [(status.limit, status.remaining) for status in meter.statuses] == [(40, 39), (6_000, remaining)]
    assert meter.take_unpaid_general_quota() is None


def test_press_without_an_effect_is_refused_if_the_general_quota_is_used_up() -> None:
    meter = press()
    meter.record_replies([[1, 39, 0, 33_334], 59_995])
    with pytest.raises(RateLimitExceeded) as refusal:
        meter.take_unpaid_general_quota()
    assert refusal.value.message == (
        "Too many requests for the general limit of 6,000 requests a minute and client (RATE_LIMIT_GENERAL); "
        "try again in 1 s"
    )
    assert refusal.value.details == {"setting": "RATE_LIMIT_GENERAL", "retry_after_ms": 4}
    general = meter.statuses[-1]
    assert (general.exceeded, general.remaining, general.reset_s) == (True, 0, 60)


def test_refusal_of_a_press_over_the_limit_of_its_session_names_that_limit() -> None:
    meter = press()
    meter.record_replies([[0, 0, 33_333, 1_333_332], -2])
    with pytest.raises(RateLimitExceeded, match=r"switch limit of 30 presses a second and session \(RATE_LIMIT_SWITCH"):
        meter.raise_if_exceeded()


def test_request_without_a_general_quota_is_not_limited_as_a_press() -> None:
    meter = RateMeter()
    meter.count_as_press(Quota(SWITCH, "s"))
    assert meter.build_count_commands(Keys()) == []
    assert meter.take_unpaid_general_quota() is None


# -- clients that an instance remembers as limited --------------------------------------------------------------------


def test_limited_client_is_remembered_until_its_next_token() -> None:
    now_s = 100.0
    limited = LimitedClients(clock=lambda: now_s)
    used_up = RateLimitStatus(6, 0, 60, exceeded=True, wait_ms=9_000, rate=general_rate(6))
    limited.remember_if_limited("a", (RateLimitStatus.from_reply(SWITCH, [0, 0, 33_000, 1_300_000]),))
    assert limited.find("a") is None, "the limit of a session says nothing about its client"
    limited.remember_if_limited("a", (used_up,))
    now_s += 4
    assert limited.find("a") == (used_up, 5_000)
    assert limited.find("b") is None
    now_s += 5
    assert limited.find("a") is None


def test_number_of_remembered_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limited_clients, "MAX_LIMITED_CLIENTS", 2)
    limited = LimitedClients()
    used_up = RateLimitStatus(6, 0, 60, exceeded=True, wait_ms=9_000, rate=general_rate(6))
    for client in ("a", "b", "a", "c"):
        limited.remember_if_limited(client, (used_up,))
    assert [limited.find(client) is not None for client in "abc"] == [True, False, True]
