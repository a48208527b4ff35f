"""Writes the dashboards for Grafana: `python deploy/grafana/generate.py`. Needs only the standard library.

Each dashboard is a list of panels. A panel is half of the width of a laptop, and Grafana shows one below the other on a
phone. Metrics of the whole store are combined with max, because each process returns the same value.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

RATE = "[$__rate_interval]"
HERE = 'instance=~"$instance"'
"""Selector of the processes that the reader chose."""

OURS = "and on (instance) synckairos_build_info"
"""Condition that leaves out processes of other products."""


@dataclass(frozen=True)
class Panel:
    """One panel. `queries` are PromQL expressions by the legend of their series.

    `kind` and `unit` are names of Grafana. From the values `limits` on, the value is shown in yellow and in red.
    `width` is in columns, of which a dashboard has 24.
    """

    title: str
    queries: dict[str, str]
    description: str
    unit: str = "short"
    kind: str = "timeseries"
    limits: tuple[float, float] | None = None
    width: int = 12
    decimals: int | None = None


@dataclass(frozen=True)
class Dashboard:
    """One dashboard. `name` is the part of its uid and of its file name after `synckairos-`."""

    name: str
    title: str
    description: str
    panels: list[Panel]
    links: list[dict[str, Any]] = field(default_factory=list)
    variables: list[dict[str, Any]] = field(default_factory=list)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return the sum of the rates of a counter, by labels."""
    selector = f"{HERE},{where}" if where else HERE
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({metric}{{{selector}}}{RATE}))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """Return a quantile of a histogram, by labels. `metric` is its name without `_bucket`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, where)})"


def slowest(metric: str, by: str) -> str:
    """Return the 99th percentiles of a histogram, for the ten series in which they are the highest."""
    return f"topk(10, {quantile(0.99, metric, by)})"


def most_frequent(metric: str, by: str) -> str:
    """Return the rates of a counter, for the ten series in which they are the highest."""
    return f"topk(10, {rate(metric, by)})"


def stored(metric: str, by: str = "", where: str = "") -> str:
    """Return a gauge of the whole store, by labels."""
    grouping = f" by ({by})" if by else ""
    return f"max{grouping} ({metric}{f'{{{where}}}' if where else ''})"


def stored_rate(metric: str, by: str = "") -> str:
    """Return the rate of a counter of the whole store, by labels."""
    grouping = f" by ({by})" if by else ""
    return f"max{grouping} (rate({metric}{RATE}))"


def gauge(metric: str, by: str = "instance") -> str:
    """Return the sum of a gauge of the processes, by labels."""
    return f"sum by ({by}) ({metric}{{{HERE}}})" if by else f"sum ({metric}{{{HERE}}})"


def quantiles(metric: str, where: str = "") -> dict[str, str]:
    """Return three quantiles of a histogram by their legends."""
    return {f"{share:.0%}": quantile(share, metric, where=where) for share in (0.5, 0.9, 0.99)}


PRESS = 'command="switch"'

OVERVIEW = Dashboard(
    "overview",
    "SyncKairos: overview",
    "Is everything in order? The other dashboards have the details.",
    [
        Panel(
            "Instances",
            {"": stored("synckairos_instances")},
            "Running instances on this store.",
            kind="stat",
            width=4,
        ),
        Panel(
            "Workers",
            {"": 'count(synckairos_build_info{process="worker"}) or vector(0)'},
            "Workers that answer scrapes.",
            kind="stat",
            width=4,
        ),
        Panel(
            "Live sessions",
            {"": stored("synckairos_active_sessions")},
            "Sessions that are not final.",
            kind="stat",
            width=4,
        ),
        Panel(
            "Open connections",
            {"": gauge("synckairos_websocket_connections", "")},
            "Sockets and event streams.",
            kind="stat",
            width=4,
        ),
        Panel(
            "Failed commands, 1 h",
            {"": "synckairos:command_failures:ratio_rate1h"},
            "Share of the commands of the last hour that failed by a fault of the server. The objective is 0.1 %.",
            "percentunit",
            "stat",
            (0.001, 0.0144),
            4,
            2,
        ),
        Panel(
            "Firing alerts",
            {"": 'count(ALERTS{alertname=~"SyncKairos.*",alertstate="firing"}) or vector(0)'},
            "Each alert names its runbook.",
            kind="stat",
            limits=(1, 1),
            width=4,
        ),
        Panel(
            "Commands",
            {"{{outcome}}": rate("synckairos_commands_total", "outcome")},
            "Decided commands per second. Refused: the caller's fault. Replayed: answered from an earlier result. "
            "Failed: the server's fault.",
            "cps",
        ),
        Panel(
            "Duration of presses",
            quantiles("synckairos_command_duration_seconds", PRESS),
            "Time to decide and commit a switch. The objective is 50 ms for 99 % of them.",
            "s",
            limits=(0.05, 0.25),
        ),
        Panel(
            "Lateness of expiries",
            quantiles("synckairos_timekeeper_lateness_seconds"),
            "Time from a deadline to the commit of its expiry.",
            "s",
            limits=(0.25, 1),
        ),
        Panel(
            "Lateness of the event loop",
            {"{{instance}}": quantile(0.99, "synckairos_event_loop_lag_seconds", "instance")},
            "99th percentile. All requests of an instance wait as long.",
            "s",
            limits=(0.1, 0.25),
        ),
        Panel(
            "Processor time",
            {"{{instance}}": f"rate(process_cpu_seconds_total{{{HERE}}}{RATE}) {OURS}"},
            "Processors that each process uses. An instance cannot use more than about one.",
            "short",
            limits=(0.7, 0.9),
        ),
        Panel(
            "Memory of the processes",
            {"{{instance}}": f"process_resident_memory_bytes{{{HERE}}} {OURS}"},
            "Resident memory of each process.",
            "bytes",
        ),
        Panel(
            "Age of the keys of issuers",
            {"{{source}}": f"time() - min by (source) (synckairos_issuer_keys_fetched_timestamp_seconds{{{HERE}}})"},
            "Time since the last successful fetch of a key set (JWKS). At 24 hours its tokens are refused.",
            "s",
            limits=(7200, 43200),
        ),
        Panel(
            "Jumps of the clock of Redis",
            {"{{direction}}": f"sum by (direction) (increase(synckairos_store_clock_steps_total{{{HERE}}}{RATE}))"},
            "Jumps of more than a second. Each shortens or extends running turns.",
        ),
        Panel(
            "Processes and releases",
            {"": "synckairos_build_info"},
            "Each process with its kind and its release.",
            kind="table",
            width=24,
        ),
    ],
)

COMMANDS = Dashboard(
    "commands",
    "SyncKairos: sessions and commands",
    "What callers ask for, and what they get.",
    [
        Panel(
            "Commands by kind",
            {"{{command}}": rate("synckairos_commands_total", "command")},
            "Decided commands per second.",
            "cps",
        ),
        Panel(
            "Commands that failed",
            {"{{command}}": rate("synckairos_commands_total", "command", 'outcome="failed"')},
            "Commands per second that got a 503 or a 500 by a fault of the server or of a store.",
            "cps",
            limits=(0.01, 0.1),
        ),
        Panel(
            "Failed commands by window",
            {
                "5 min": "synckairos:command_failures:ratio_rate5m",
                "1 h": "synckairos:command_failures:ratio_rate1h",
                "6 h": "synckairos:command_failures:ratio_rate6h",
                "3 d": "synckairos:command_failures:ratio_rate3d",
            },
            "Share of the commands that failed. The objective is 0.1 %. At 1.44 % a person wakes up.",
            "percentunit",
            limits=(0.001, 0.0144),
        ),
        Panel(
            "Slow presses by window",
            {
                "5 min": "synckairos:slow_presses:ratio_rate5m",
                "1 h": "synckairos:slow_presses:ratio_rate1h",
                "6 h": "synckairos:slow_presses:ratio_rate6h",
                "3 d": "synckairos:slow_presses:ratio_rate3d",
            },
            "Share of the presses that took longer than 50 ms. The objective is 1 %. At 14.4 % a person wakes up.",
            "percentunit",
            limits=(0.01, 0.144),
        ),
        Panel(
            "Duration of presses",
            quantiles("synckairos_command_duration_seconds", PRESS),
            "Time to decide and commit a switch.",
            "s",
            limits=(0.05, 0.25),
        ),
        Panel(
            "Duration of commands",
            {"{{command}}": slowest("synckairos_command_duration_seconds", "command")},
            "99th percentile of the ten slowest commands.",
            "s",
            limits=(0.05, 0.25),
        ),
        Panel(
            "Refused commands",
            {"{{command}}": rate("synckairos_commands_total", "command", 'outcome="refused"')},
            "Refusals per second that are the caller's fault.",
            "cps",
        ),
        Panel(
            "Replayed commands",
            {"{{command}}": rate("synckairos_commands_total", "command", 'outcome="replayed"')},
            "Repeated commands per second, answered from the first result.",
            "cps",
        ),
        Panel(
            "Requests",
            {"{{method}} {{route}}": most_frequent("synckairos_http_requests_total", "method, route")},
            "The ten most frequent routes, requests per second.",
            "reqps",
        ),
        Panel(
            "Duration of requests",
            {"{{method}} {{route}}": slowest("synckairos_http_request_duration_seconds", "method, route")},
            "99th percentile of the ten slowest routes.",
            "s",
            limits=(0.25, 1),
        ),
        Panel(
            "Requests with errors",
            {"{{status_code}}": rate("synckairos_http_requests_total", "status_code", 'status_code=~"[45].."')},
            "Answers with 4xx and 5xx per second.",
            "reqps",
        ),
        Panel(
            "Requests refused by rate limits",
            {"{{door}}": rate("synckairos_rate_limited_total", "door")},
            "Requests and socket messages per second.",
            "reqps",
        ),
        Panel(
            "Commit conflicts",
            {"conflicts": rate("synckairos_commit_conflicts_total")},
            "Commits per second that met a newer version and were decided again.",
            "cps",
        ),
        Panel(
            "Recovered and restored sessions",
            {
                "recovered": rate("synckairos_recovered_sessions_total"),
                "restored": rate("synckairos_restored_sessions_total"),
            },
            "Sessions per second that came back from Postgres: after data loss in Redis, and after their eviction.",
            "cps",
        ),
    ],
    links=[
        {
            "title": "Trail of the session",
            "type": "link",
            "url": "${server}/v1/sessions/${session}/events",
            "tooltip": "Events of the session in the box `session`. Needs a token of the server, or no authentication.",
            "icon": "doc",
            "targetBlank": True,
        },
        {
            "title": "The session",
            "type": "link",
            "url": "${server}/v1/sessions/${session}",
            "tooltip": "The session in the box `session`.",
            "icon": "doc",
            "targetBlank": True,
        },
    ],
    variables=[
        {
            "name": "server",
            "label": "server",
            "type": "textbox",
            "query": "http://127.0.0.1:3000",
            "current": {"text": "http://127.0.0.1:3000", "value": "http://127.0.0.1:3000"},
        },
        {"name": "session", "label": "session", "type": "textbox", "query": "", "current": {"text": "", "value": ""}},
    ],
)

REALTIME = Dashboard(
    "realtime",
    "SyncKairos: realtime",
    "Sockets, event streams, the feed between instances, and presence.",
    [
        Panel(
            "Connections",
            {
                "{{instance}}": gauge("synckairos_websocket_connections"),
                "limit of {{instance}}": gauge("synckairos_websocket_connections_limit"),
            },
            "Open sockets and event streams of each instance, and its limit.",
        ),
        Panel(
            "Event streams",
            {"{{instance}}": gauge("synckairos_event_streams")},
            "Connections of clients without a WebSocket.",
        ),
        Panel(
            "Lag of the feed",
            {"{{instance}}": quantile(0.99, "synckairos_feed_lag_seconds", "instance")},
            "99th percentile of the time from a version to its arrival at an instance.",
            "s",
            limits=(0.25, 0.5),
        ),
        Panel(
            "Gaps and reconnects",
            {
                "gaps {{instance}}": rate("synckairos_feed_gaps_total", "instance"),
                "reconnects {{instance}}": rate("synckairos_feed_reconnects_total", "instance"),
            },
            "Per second. After each, the instance reads sessions again.",
            "cps",
            limits=(0.05, 0.1),
        ),
        Panel(
            "Watched sessions",
            {"{{instance}}": gauge("synckairos_watched_sessions")},
            "Sessions with at least one watcher on the instance.",
        ),
        Panel(
            "Feed messages",
            {"{{instance}}": rate("synckairos_feed_messages_total", "instance")},
            "Messages per second that each instance receives.",
            "cps",
        ),
        Panel(
            "Messages of clients",
            {"{{instance}}": rate("synckairos_websocket_messages_total", "instance")},
            "Messages per second from sockets and event streams.",
            "cps",
        ),
        Panel(
            "Skipped states",
            {"{{instance}}": rate("synckairos_websocket_conflated_total", "instance")},
            "States per second that slow clients skipped. They got a newer one.",
            "cps",
        ),
        Panel(
            "Closed connections",
            {"{{code}}": rate("synckairos_websocket_closed_total", "code")},
            "Connections per second that the server closed, by close code.",
            "cps",
        ),
        Panel(
            "Duration of presence rounds",
            quantiles("synckairos_presence_round_duration_seconds"),
            "A round writes, reads and sends changed counts of watchers.",
            "s",
            limits=(0.25, 1),
        ),
        Panel(
            "PRESENCE messages",
            {"{{instance}}": rate("synckairos_presence_frames_total", "instance")},
            "Messages per second.",
            "cps",
        ),
        Panel(
            "Failed presence rounds",
            {"{{instance}}": rate("synckairos_presence_round_failures_total", "instance")},
            "Rounds per second that failed because Redis did not answer.",
            "cps",
            limits=(0.01, 0.1),
        ),
    ],
)

AUDIT = Dashboard(
    "audit",
    "SyncKairos: audit and jobs",
    "The way of each version to Postgres, background jobs, and webhooks.",
    [
        Panel(
            "Age of the outbox",
            {"oldest version": stored("synckairos_audit_outbox_age_seconds")},
            "Age of the oldest version that is not in Postgres.",
            "s",
            limits=(60, 300),
        ),
        Panel(
            "Fill level of the outbox",
            {"fill level": stored("synckairos_audit_outbox_fullness_ratio")},
            "At 100 % commands are refused.",
            "percentunit",
            limits=(0.5, 0.8),
        ),
        Panel(
            "Versions in the outbox",
            {"versions": stored("synckairos_audit_outbox_entries")},
            "Versions that are not in Postgres yet.",
        ),
        Panel(
            "Bytes of the outbox",
            {"bytes": stored("synckairos_audit_outbox_bytes")},
            "Memory of Redis for these versions.",
            "bytes",
        ),
        Panel(
            "Drained versions",
            {
                "versions": stored_rate("synckairos_audit_drained_total"),
                "batches": stored_rate("synckairos_audit_batches_total"),
            },
            "Versions and batches per second that workers moved to Postgres.",
            "cps",
        ),
        Panel(
            "Duration of batches",
            quantiles("synckairos_audit_batch_duration_seconds"),
            "Time to write one batch to Postgres.",
            "s",
            limits=(1, 5),
        ),
        Panel(
            "Time of the drain",
            {"processes": stored_rate("synckairos_audit_drain_seconds_total")},
            "Seconds per second that workers write batches. Each worker writes at most four batches at a time.",
        ),
        Panel(
            "Failed versions",
            {
                "set aside": stored("synckairos_audit_failed_entries"),
                "will be retried": stored("synckairos_audit_retrying_entries"),
                "rejected per second": stored_rate("synckairos_audit_isolated_total"),
                "conflicts per second": stored_rate("synckairos_audit_conflicts_total"),
            },
            "Versions that Postgres rejected, and versions with two contents.",
            limits=(1, 1),
        ),
        Panel(
            "Refusals because of a full outbox",
            {"{{instance}}": rate("synckairos_backlog_refusals_total", "instance")},
            "Commits per second that were refused.",
            "cps",
            limits=(0.01, 0.1),
        ),
        Panel(
            "Read cache",
            {"{{kind}} {{outcome}}": rate("synckairos_cache_reads_total", "kind, outcome")},
            "Reads per second of lists and events.",
            "cps",
        ),
        Panel(
            "Jobs",
            {"{{type}} {{status}}": stored("synckairos_jobs", "type, status")},
            "Background jobs of the last 30 days.",
        ),
        Panel(
            "Oldest queued job",
            {"{{type}}": stored("synckairos_jobs_oldest_queued_seconds", "type")},
            "Time for which a job has waited.",
            "s",
            limits=(300, 900),
        ),
        Panel(
            "Attempts at jobs",
            {"{{type}} {{outcome}}": stored_rate("synckairos_job_attempts_total", "type, outcome")},
            "Attempts per second. Died: the worker was killed.",
            "cps",
        ),
        Panel(
            "Duration of jobs",
            {"{{type}} {{outcome}}": quantile(0.9, "synckairos_job_duration_seconds", "type, outcome")},
            "90th percentile of an attempt.",
            "s",
        ),
        Panel(
            "Time of jobs",
            {"{{type}} {{outcome}}": stored_rate("synckairos_job_seconds_total", "type, outcome")},
            "Seconds per second that workers spent on jobs.",
        ),
        Panel(
            "Oldest due webhook",
            {"due for": stored("synckairos_webhook_oldest_due_seconds")},
            "Time for which a delivery has been due.",
            "s",
            limits=(60, 300),
        ),
        Panel(
            "Pending webhooks",
            {
                "pending deliveries": stored("synckairos_webhook_pending_deliveries"),
                "disabled endpoints": stored("synckairos_webhook_disabled_endpoints"),
            },
            "Deliveries that are not sent yet, up to 100,000, and disabled endpoints.",
        ),
        Panel(
            "Webhook attempts",
            {"{{outcome}}": stored_rate("synckairos_webhook_tries_total", "outcome")},
            "Attempts per second.",
            "cps",
        ),
        Panel(
            "Duration of webhook attempts",
            {"{{outcome}}": quantile(0.9, "synckairos_webhook_attempt_duration_seconds", "outcome")},
            "90th percentile of an attempt.",
            "s",
            limits=(1, 5),
        ),
    ],
)

STORES = Dashboard(
    "stores",
    "SyncKairos: stores",
    "Redis and Postgres as the processes see them. The exporters of both stores show the inside.",
    [
        Panel(
            "Reachable stores",
            {"{{store}} {{instance}}": f"min by (store, instance) (synckairos_store_up{{{HERE}}})"},
            "1 if the process can use the store.",
            kind="timeseries",
        ),
        Panel(
            "Failed calls to Redis",
            {"{{instance}}": rate("synckairos_redis_failed_calls_total", "instance")},
            "Calls per second without a reply.",
            "cps",
            limits=(0.01, 0.1),
        ),
        Panel(
            "Calls to Redis",
            {"{{operation}}": slowest("synckairos_redis_call_duration_seconds", "operation")},
            "99th percentile of the ten slowest operations, with the network.",
            "s",
            limits=(0.01, 0.05),
        ),
        Panel(
            "Number of calls to Redis",
            {"{{operation}}": most_frequent("synckairos_redis_call_duration_seconds_count", "operation")},
            "The ten most frequent operations, calls per second.",
            "ops",
        ),
        Panel(
            "Memory of Redis",
            {
                "used": stored("synckairos_redis_memory_bytes"),
                "limit": f"{stored('synckairos_redis_memory_limit_bytes')} > 0",
            },
            "At the limit, commands get a 503. Without a line for the limit, Redis has none.",
            "bytes",
        ),
        Panel(
            "Invalid stored data",
            {"{{kind}}": rate("synckairos_invalid_stored_data_total", "kind")},
            "Data per second that could not be used.",
            "cps",
            limits=(0.001, 0.01),
        ),
        Panel(
            "Statements in Postgres",
            {"{{operation}}": slowest("synckairos_postgres_statement_duration_seconds", "operation")},
            "99th percentile of the ten slowest statements, with the network.",
            "s",
            limits=(0.25, 1),
        ),
        Panel(
            "Number of statements in Postgres",
            {"{{operation}}": most_frequent("synckairos_postgres_statement_duration_seconds_count", "operation")},
            "The ten most frequent statements, per second.",
            "ops",
        ),
        Panel(
            "Connections to Postgres",
            {
                "{{pool}} {{state}}": gauge("synckairos_postgres_pool_connections", "pool, state"),
                "limit of {{pool}}": gauge("synckairos_postgres_pool_connections_limit", "pool"),
            },
            "Connections of the pools of all processes.",
        ),
        Panel(
            "Callers without a connection",
            {
                "waiting for {{pool}}": gauge("synckairos_postgres_pool_waiting", "pool"),
                "timeouts of {{pool}} per second": rate("synckairos_postgres_pool_timeouts_total", "pool"),
            },
            "Callers that wait for a connection of a pool, and callers that got none in time.",
            limits=(1, 5),
        ),
        Panel(
            "Wait for a connection to Postgres",
            {"{{pool}}": quantile(0.99, "synckairos_postgres_pool_wait_seconds", "pool")},
            "99th percentile by pool.",
            "s",
            limits=(0.1, 1),
            width=24,
        ),
    ],
)

DASHBOARDS = [OVERVIEW, COMMANDS, REALTIME, AUDIT, STORES]


def render(dashboard: Dashboard) -> str:
    """Return the JSON text of a dashboard."""
    panels: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > 24:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        panels.append(_render_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    document = {
        "uid": f"synckairos-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["synckairos"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            *dashboard.links,
            {"title": "SyncKairos", "type": "dashboards", "tags": ["synckairos"], "asDropdown": True, "keepTime": True},
        ],
        "templating": {"list": [*_VARIABLES, *dashboard.variables]},
        "annotations": {
            "list": [
                {
                    "name": "Firing alerts",
                    "datasource": DATASOURCE,
                    "enable": True,
                    "iconColor": "red",
                    "expr": 'ALERTS{alertname=~"SyncKairos.*",alertstate="firing"}',
                    "titleFormat": "{{alertname}}",
                    "textFormat": "{{severity}} {{instance}}",
                    "step": "60s",
                }
            ]
        },
        "panels": panels,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


_VARIABLES: list[dict[str, Any]] = [
    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
    {
        "name": "instance",
        "label": "process",
        "type": "query",
        "datasource": DATASOURCE,
        "query": "label_values(synckairos_build_info, instance)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def _render_panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limits is not None:
        yellow, red = panel.limits
        steps += [{"color": "yellow", "value": yellow}] if yellow < red else []
        steps.append({"color": "red", "value": red})
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 8,
            "showPoints": "never",
            "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
        }
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": DATASOURCE,
            "expr": expression,
            "legendFormat": legend or "__auto",
            **({"instant": True, "format": "table"} if panel.kind == "table" else {}),
        }
        for at, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "type": panel.kind,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }


def main() -> None:
    """Write all dashboards."""
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.name}.json").write_text(render(dashboard))


if __name__ == "__main__":
    main()
