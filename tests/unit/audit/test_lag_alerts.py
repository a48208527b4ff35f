"""Lag is announced once a threshold, and once when it is over."""

from typing import Any

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from synckairos.audit import metrics
from synckairos.audit.lag_alerts import LagAlerts
from synckairos.store.outbox import Backlog, Tally


def backlog(age_s: float = 0, set_aside: int = 0) -> Backlog:
    return Backlog(7, round(age_s * 1000), 0, set_aside)


@pytest.mark.parametrize(
    ("ages", "told"),
    [
        ((0, 5, 9), []),
        ((11, 12, 59), ["audit lags"]),
        ((11, 61, 61, 2000), ["audit lags"] * 3),
        ((4000, 11, 0, 0), ["audit lags", "audit has caught up"]),
    ],
)
def test_what_is_told(ages: tuple[int, ...], told: list[str]) -> None:
    watch = LagAlerts()
    with capture_logs() as lines:
        for age_s in ages:
            watch.observe(backlog(age_s))
    assert [line["event"] for line in lines] == told
    assert metrics.OUTBOX_AGE_SECONDS._value.get() == ages[-1]


def test_what_was_set_aside_is_told_as_it_grows() -> None:
    watch = LagAlerts()
    with capture_logs() as lines:
        for count in (0, 1, 1, 0, 2):
            watch.observe(backlog(set_aside=count))
    seen: list[Any] = [(line["log_level"], line["entries"]) for line in lines]
    assert seen == [("error", 1), ("error", 2)]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((0, 0.49), []),
        ((0.5, 0.6, 0.79, 0.5), ["warning"]),
        ((0.5, 0.8, 1.0, 1.2), ["warning", "warning", "error"]),
        ((1.0, 0.9, 1.0), ["error"]),
        ((0.9, 0.1, 0.9), ["warning", "info", "warning"]),
    ],
)
def test_a_backlog_is_told_as_it_fills_up_and_when_there_is_room_again(
    parts: tuple[float, ...], told: list[str]
) -> None:
    watch = LagAlerts()
    with capture_logs() as lines:
        for part in parts:
            watch.observe(Backlog(7, 0, 0, 0, bytes=700, fullness=part))
    assert [line["log_level"] for line in lines] == told
    assert all((line["entries"], line["bytes"]) == (7, 700) for line in lines)


def test_what_the_store_counts_is_scraped() -> None:
    tally = Tally(drained=10, conflicts=1, isolated=2, batches=4, busy_us=2_500_000)
    metrics.publish_backlog(Backlog(3, 1500, 0, 0, tally, bytes=999, fullness=0.25))
    text = generate_latest().decode()
    for line in (
        "synckairos_audit_outbox_entries 3.0",
        "synckairos_audit_outbox_age_seconds 1.5",
        "synckairos_audit_outbox_bytes 999.0",
        "synckairos_audit_outbox_fullness_ratio 0.25",
        "synckairos_audit_drained_total 10.0",
        "synckairos_audit_conflicts_total 1.0",
        "synckairos_audit_isolated_total 2.0",
        "synckairos_audit_batches_total 4.0",
        "synckairos_audit_drain_seconds_total 2.5",
    ):
        assert f"\n{line}\n" in text
