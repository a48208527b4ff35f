"""The page `docs/reference/metrics.md`, rendered from the catalogue of metrics.

Run `python -m tests.unit.docs.metrics_page` to write the file.
"""

from itertools import groupby

from synckairos.telemetry.metric_types import CATALOGUE, STORE_WIDE, MetricInfo
from tests.package_modules import import_all_modules
from tests.unit.docs.pages import REFERENCE

PAGE = REFERENCE / "metrics.md"

_HEAD = """# Metrics

`GET /metrics` of each [instance](../glossary.md#instance) returns Prometheus text. A [worker](../glossary.md#worker)
answers it too, on the port of [`--metrics-port`](../operate/prometheus.md#workers). `make metrics-page` writes this
page from the code.

- **Processes.** `server` is an instance. A worker has only the metrics that name `worker`.
- **Scope.** `process` counts the scraped process since it started. `store` describes the whole store, and each process
  returns the same value, at most some seconds old. Combine `store` values with `max`, never with `sum`.
- **Unit.** Durations are seconds and sizes are bytes. A metric without a unit counts things.
- **Labels.** The number after each label is the maximum number of its values, so the number of series has a bound. No
  label is a session, a participant or an address.
- If a store does not answer, the values that come from it stay as they were.
- The text also has the usual `process_*` and `python_*` metrics. It has no `_created` series.
- [Prometheus](../operate/prometheus.md) shows how to scrape them, and has alerts and dashboards.
"""


def load_catalogue() -> dict[str, MetricInfo]:
    """Import all modules of the package, so that all metrics are defined. Return the catalogue."""
    import_all_modules()
    return CATALOGUE


def render() -> str:
    """Return the text of the page."""
    # Sorted by name, because the order of the imports must not change the page.
    parts = [_HEAD]
    metrics = sorted(load_catalogue().values(), key=lambda info: (_SECTIONS.index(info.section), info.name))
    for section, infos in groupby(metrics, key=lambda info: info.section):
        parts.append(f"\n## {section}\n")
        parts.append("| metric | type | labels | unit | scope | processes | meaning |\n|---|---|---|---|---|---|---|\n")
        parts += map(_render_row, infos)
    return "".join(parts)


def _render_row(info: MetricInfo) -> str:
    labels = ", ".join(f"`{label}` {most}" for label, most in info.max_label_values.items())
    meaning = info.help_text.removesuffix(f". {STORE_WIDE}").replace("|", "\\|")
    processes = ", ".join(info.processes)
    return f"| `{info.name}` | {info.kind} | {labels} | {info.unit} | {info.scope} | {processes} | {meaning} |\n"


_SECTIONS = [
    "Process",
    "REST",
    "Tenants",
    "Authentication",
    "Sessions and commands",
    "Time",
    "Sockets",
    "Feed between instances",
    "Redis and Postgres",
    "Audit",
    "Jobs",
    "Webhooks",
]


if __name__ == "__main__":
    PAGE.write_text(render())
