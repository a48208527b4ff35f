"""Log lines about the outage of a store: one at the start, at most one per minute, one at the end."""

import io

import pytest

from synckairos.telemetry.outages import REPEAT_S, LogThrottle, SilentOutage, StoreOutage
from tests.unit.telemetry.log_lines import lines


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> StoreOutage:
    return StoreOutage("redis", "REDIS_URL", "all wait", clock=clock)


def test_all_parts_and_attempts_of_one_outage_share_a_line(stream: io.StringIO, outage: StoreOutage) -> None:
    for part in ("commands", "feed", "commands", "commands"):
        outage.report_unreachable(part, OSError("refused"))
    (line,) = lines(stream)
    assert line["event"] == "store is unavailable"
    assert (line["store"], line["setting"], line["part"]) == ("redis", "REDIS_URL", "commands")
    assert line["cause"] == "refused"
    assert (line["effect"], line["seconds"], line["level"]) == ("all wait", 0, "warning")


def test_outage_ends_when_the_last_part_has_recovered(stream: io.StringIO, outage: StoreOutage, clock: Clock) -> None:
    outage.report_unreachable("commands", "a")
    outage.report_unreachable("feed", "b")
    clock.now_s = 3
    outage.report_reachable("commands")
    outage.report_reachable("commands")
    assert len(lines(stream)) == 1
    outage.report_reachable("feed")
    line = lines(stream)[-1]
    assert (line["event"], line["seconds"], line["level"]) == ("store is available again", 3, "info")


def test_line_is_repeated_after_a_minute_with_the_length_of_the_outage(
    stream: io.StringIO, outage: StoreOutage, clock: Clock
) -> None:
    for second in range(int(2 * REPEAT_S) + 1):
        clock.now_s = second
        outage.report_unreachable("commands", "refused")
    assert [line["seconds"] for line in lines(stream)] == [0, 60, 120]


def test_outages_that_follow_each_other_share_the_limit_of_a_line_a_minute(
    stream: io.StringIO, outage: StoreOutage, clock: Clock
) -> None:
    for second in range(int(REPEAT_S)):
        clock.now_s = second
        outage.report_unreachable("commands", "refused")
        outage.report_reachable("commands")
    assert [line["event"] for line in lines(stream)] == ["store is unavailable", "store is available again"]


def test_recovery_without_an_outage_is_not_logged(stream: io.StringIO, outage: StoreOutage) -> None:
    outage.report_reachable("commands")
    assert lines(stream) == []


def test_cause_without_a_text_is_named_by_its_type(stream: io.StringIO, outage: StoreOutage) -> None:
    outage.report_unreachable("commands", TimeoutError())
    assert lines(stream)[0]["cause"] == "TimeoutError"


def test_unreported_outage_is_not_logged(stream: io.StringIO) -> None:
    outage = SilentOutage()
    outage.report_unreachable("commands", "refused")
    outage.report_reachable("commands")
    assert lines(stream) == []


def test_quiet_period_counts_the_lines_that_it_suppressed(clock: Clock) -> None:
    quiet = LogThrottle(10, clock=clock)
    assert [quiet.allow_next_line() for _ in range(3)] == [0, None, None]
    clock.now_s = 10
    assert [quiet.allow_next_line() for _ in range(2)] == [2, None]
