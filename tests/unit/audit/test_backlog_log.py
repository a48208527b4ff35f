"""Log lines and metrics of the backlog: one line at each threshold, and one line at the end."""

from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest
from structlog.testing import capture_logs

from synckairos.audit import metrics
from synckairos.audit.backlog_log import BacklogLog
from synckairos.store.outbox import DrainTally, OutboxBacklog


def backlog(age_s: float = 0, set_aside: int = 0) -> OutboxBacklog:
    return OutboxBacklog(7, round(age_s * 1000), 0, set_aside)


@pytest.mark.parametrize(
    ("ages", "events"),
    [
        ((0, 5, 9), []),
        ((11, 12, 59), ["audit lags"]),
        ((11, 61, 61, 2000), ["audit lags"] * 3),
        ((4000, 11, 0, 0), ["audit lags", "audit has caught up"]),
    ],
)
def test_a_lag_is_logged_once_per_threshold_and_at_its_end(ages: tuple[int, ...], events: list[str]) -> None:
    backlog_log = BacklogLog()
    with capture_logs() as lines:
        for age_s in ages:
            backlog_log.report_backlog(backlog(age_s))
    assert [line["event"] for line in lines] == events
    assert REGISTRY.get_sample_value("synckairos_audit_outbox_age_seconds") == ages[-1]


def test_failed_entries_are_logged_when_their_number_grows() -> None:
    backlog_log = BacklogLog()
    with capture_logs() as lines:
        for count in (0, 1, 1, 0, 2):
            backlog_log.report_backlog(backlog(set_aside=count))
    seen: list[Any] = [(line["log_level"], line["entries"]) for line in lines]
    assert seen == [("error", 1), ("error", 2)]


@pytest.mark.parametrize(
    ("fullness", "levels"),
    [
        ((0, 0.49), []),
        ((0.5, 0.6, 0.79, 0.5), ["warning"]),
        ((0.5, 0.8, 1.0, 1.2), ["warning", "warning", "error"]),
        ((1.0, 0.9, 1.0), ["error"]),
        ((0.9, 0.1, 0.9), ["warning", "info", "warning"]),
    ],
)
def test_a_filling_outbox_is_logged_once_per_threshold_and_when_it_has_room(
    fullness: tuple[float, ...], levels: list[str]
) -> None:
    backlog_log = BacklogLog()
    with capture_logs() as lines:
        for share in fullness:
            backlog_log.report_backlog(OutboxBacklog(7, 0, 0, 0, bytes=700, fullness=share))
    assert [line["log_level"] for line in lines] == levels
    assert all((line["entries"], line["bytes"]) == (7, 700) for line in lines)


def test_the_backlog_and_the_tally_are_in_the_metrics() -> None:
    tally = DrainTally(drained=10, conflicts=1, isolated=2, batches=4, busy_us=2_500_000)
    metrics.set_backlog_gauges(OutboxBacklog(3, 1500, 0, 0, tally, bytes=999, fullness=0.25))
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
