"""One scrape for several processes: which values are added, and which are not."""

from synckairos.telemetry.merged_metrics import merge_metrics
from synckairos.telemetry.metrics import render_metrics

ACTIVE = "synckairos_active_sessions"
FETCHED = "synckairos_issuer_keys_fetched_timestamp_seconds"


def text(requests: float, sockets: float, active: float, fetched: float = 5.0) -> bytes:
    requests, sockets, active, fetched = map(float, (requests, sockets, active, fetched))
    return f"""# HELP synckairos_http_requests_total Requests
# TYPE synckairos_http_requests_total counter
synckairos_http_requests_total{{method="GET",route="/v1/time"}} {requests}
# HELP synckairos_feed_lag_seconds Lag
# TYPE synckairos_feed_lag_seconds histogram
synckairos_feed_lag_seconds_bucket{{le="0.5"}} {requests}
synckairos_feed_lag_seconds_bucket{{le="+Inf"}} {requests}
synckairos_feed_lag_seconds_count {requests}
synckairos_feed_lag_seconds_sum {requests}
# HELP synckairos_websocket_connections Sockets
# TYPE synckairos_websocket_connections gauge
synckairos_websocket_connections {sockets}
# HELP {ACTIVE} Sessions
# TYPE {ACTIVE} gauge
{ACTIVE} {active}
# HELP {FETCHED} Keys
# TYPE {FETCHED} gauge
{FETCHED}{{source="issuer"}} {fetched}
""".encode()


def test_metrics_of_one_process_stay_unchanged() -> None:
    one = text(3, 2, 7)
    assert merge_metrics(one, [], []) == one
    own = render_metrics("server")
    assert merge_metrics(own, [], []) == own


def test_counters_histograms_and_gauges_of_running_processes_are_added() -> None:
    assert merge_metrics(text(3, 2, 7, 9), [text(4, 1, 99, 6)], []) == text(7, 3, 7, 6)


def test_an_ended_process_adds_its_counters_and_histograms_only() -> None:
    assert merge_metrics(text(3, 2, 7), [], [text(4, 1, 99, 1)]) == text(7, 2, 7)


def test_series_that_only_another_process_has_are_kept() -> None:
    other = b'# HELP a_total A\n# TYPE a_total counter\na_total{b="c"} 1.0\n'
    assert merge_metrics(text(3, 2, 7), [other], []) == text(3, 2, 7) + other
