"""A real Prometheus that scrapes processes of a test every second, with the rules of `deploy/prometheus`."""

import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from synckairos.embedded.guarded_child import ChildProcess
from tests.ports import free_port
from tests.waiting import eventually

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"

_METRIC = re.compile(r"\b(?:synckairos|process)_[a-z_]+\b")


@dataclass(frozen=True)
class AlertingRule:
    """One alerting rule of `rules.yml`. `runbook` and `dashboard` are the annotations with these names."""

    alert: str
    severity: str
    expression: str
    summary: str
    description: str
    runbook: str
    dashboard: str


def load_alerting_rules() -> list[AlertingRule]:
    """Return all alerting rules, in the order of the file."""
    found: list[AlertingRule] = []
    shared: dict[str, str] = {}
    for block in re.split(r"^ +- (?=alert: )", RULES.read_text(), flags=re.MULTILINE)[1:]:
        annotations = block
        if anchor := re.search(r"annotations: &(\w+)$", block, re.MULTILINE):
            shared[anchor[1]] = block
        elif alias := re.search(r"annotations: \*(\w+)$", block, re.MULTILINE):
            annotations = shared[alias[1]]
        values = dict(re.findall(r'^ +(summary|description|runbook|dashboard): "?(.*?)"?$', annotations, re.MULTILINE))
        expression = re.search(r"expr: (?:\|\n)?(.*?)^ +(?:for|labels):", block, re.MULTILINE | re.DOTALL)
        name, severity = re.match(r"alert: (\w+)", block), re.search(r"severity: (\w+)", block)
        assert expression, block
        assert name, block
        assert severity, block
        found.append(AlertingRule(alert=name[1], severity=severity[1], expression=expression[1], **values))
    return found


def rule_expressions() -> str:
    """Return the text of `rules.yml` without comments and annotations. It has all expressions."""
    text = re.sub(r"^ +(?:summary|description|runbook|dashboard): .*$", "", RULES.read_text(), flags=re.MULTILINE)
    return re.sub(r"#.*$", "", text, flags=re.MULTILINE)


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics in a PromQL expression, without names of recording rules."""
    return set(_METRIC.findall(re.sub(r"\bsynckairos:[\w:]+", "", expression)))


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, with a client of its HTTP interface."""

    client: httpx.AsyncClient

    async def get(self, path: str, **query: str) -> Any:
        """Return the data of an answer of the HTTP API. Raises: AssertionError if Prometheus refuses the request."""
        body = (await self.client.get(f"/api/v1/{path}", params=query)).json()
        assert body["status"] == "success", f"{query}: {body.get('error')}"
        return body["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now: their labels under `metric`, and their values under `value`."""
        result: list[dict[str, Any]] = (await self.get("query", query=expression))["result"]
        return result

    async def wait_for_data(self, expression: str) -> None:
        """Wait until an expression has a result."""

        async def has_data() -> bool:
            return bool(await self.query(expression))

        await eventually(has_data, 60)

    async def firing_alerts(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = (await self.get("alerts"))["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    async def wait_for_targets(self, count: int) -> None:
        """Wait until Prometheus is ready, and `count` targets have answered a scrape."""

        async def is_ready() -> bool:
            with suppress(httpx.HTTPError):
                return (await self.client.get("/-/ready")).status_code == 200
            return False

        async def are_up() -> bool:
            return len(await self.query("up == 1")) == count

        await eventually(is_ready, 60)
        await eventually(are_up, 60)


@asynccontextmanager
async def running_prometheus(
    folder: Path, targets: Mapping[str, Sequence[str]], *, replaced: Mapping[str, str] | None = None
) -> AsyncIterator[Prometheus]:
    """Start Prometheus with the scrape jobs `targets`, whose addresses are `host:port`.

    `replaced` replaces texts in the rules by regular expression, such as times that are too long for a test.
    """
    rules = RULES.read_text()
    for pattern, text in (replaced or {}).items():
        rules, count = re.subn(pattern, text, rules, flags=re.MULTILINE)
        assert count, f"the rules do not have {pattern}"
    (folder / "rules.yml").write_text(rules)
    jobs = [{"job_name": name, "static_configs": [{"targets": list(addresses)}]} for name, addresses in targets.items()]
    times = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": times, "rule_files": [str(folder / "rules.yml")], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is also YAML
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: make tools"
    port = free_port()
    child = ChildProcess(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Prometheus(client)
    finally:
        child.stop()
