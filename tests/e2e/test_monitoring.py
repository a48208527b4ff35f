"""A real Prometheus scrapes a running fleet: dashboards and rules have data, and faults raise their alerts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.postgres.migrate import migrate
from synckairos.telemetry.metric_types import CATALOGUE
from tests.e2e.load import run_load
from tests.ports import free_port
from tests.processes import Process
from tests.prometheus import DEPLOY, Prometheus, metrics_in, rule_expressions, running_prometheus
from tests.unit.docs.metrics_page import load_catalogue
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))

AT_ONCE = {r"^        for: \w+$": "        for: 0s"}
"""Replacement in the rules by which an alert fires as soon as its expression is true."""

WITHOUT_DATA = {
    "Age of the keys of issuers": "the fleet has no authentication",
    "Invalid stored data": "no data is invalid",
    "Closed connections": "no connection is closed by the server",
    "Requests refused by rate limits": "no client sends too much",
    "Duration of webhook attempts": "no endpoint is registered",
    "Webhook attempts": "no endpoint is registered",
    "Read cache": "no list is read twice",
    "Oldest queued job": "no job waits",
    "Memory of Redis": "the Valkey of the tests has no limit of memory",
}
"""Panels of which a query can be without data in a healthy fleet, with the reason."""


@dataclass
class Fleet:
    """Two instances and a worker, scraped by Prometheus. `metrics_ports` are the ports of the three processes."""

    servers: list[Process]
    worker: Process
    addresses: dict[str, list[str]]
    prometheus: Prometheus


@asynccontextmanager
async def running_fleet(
    settings: Settings, start_server: Callable[[Settings], Process], folder: Path, replaced: dict[str, str]
) -> AsyncIterator[Fleet]:
    """Start two instances, a worker and Prometheus. Yield them when all three processes were scraped."""
    port = free_port()
    worker = Process("worker", "--metrics-port", str(port), env=settings.to_environment_variables())
    try:
        servers = [await asyncio.to_thread(start_server, settings) for _ in range(2)]
        addresses = {
            "synckairos": [each.base_url.removeprefix("http://") for each in servers],
            "synckairos-worker": [f"127.0.0.1:{port}"],
        }
        async with running_prometheus(folder, addresses, replaced=replaced) as prometheus:
            await prometheus.wait_for_targets(3)
            yield Fleet(servers, worker, addresses, prometheus)
    finally:
        worker.stop()


@asynccontextmanager
async def watchers(fleet: Fleet, session_id: str) -> AsyncIterator[None]:
    """Watch a session on both instances, and read all frames."""

    async def watch(url: str, ready: asyncio.Event) -> None:
        async with connect(f"{url}?sessionId={session_id}") as socket:
            async for _ in socket:
                ready.set()

    async with AsyncExitStack() as stack:
        for server in fleet.servers:
            ready = asyncio.Event()
            task = asyncio.create_task(watch(server.ws_url, ready))
            stack.callback(task.cancel)
            await asyncio.wait_for(ready.wait(), 30)
        yield


async def use_every_part(fleet: Fleet) -> None:
    """Use parts that have metrics: a clock that expires, a refused and a replayed command, lists, and trails."""
    async with httpx.AsyncClient(base_url=fleet.servers[0].base_url, timeout=30) as client:
        participants = [{"participant_id": str(uuid4()), "total_time_ms": 1_000} for _ in range(2)]
        body = {"sync_mode": "per_participant", "participants": participants}
        session_id = (await client.post("/v1/sessions", json=body)).json()["data"]["session_id"]
        for _ in range(2):
            headers = {"Idempotency-Key": "start"}
            (await client.post(f"/v1/sessions/{session_id}/start", headers=headers)).raise_for_status()
        assert (await client.post(f"/v1/sessions/{session_id}/start")).is_client_error

        async def has_expired() -> bool:
            return bool((await client.get(f"/v1/sessions/{session_id}")).json()["data"]["status"] == "expired")

        await eventually(has_expired)
        for path in ("/v1/sessions", f"/v1/sessions/{session_id}/events", f"/v1/participants/{uuid4()}/sessions"):
            (await client.get(path)).raise_for_status()


def run_job(settings: Settings) -> None:
    """Run a background job, and wait until it is done."""
    arguments = ("jobs", "run", "retention", "--after", "86400", "--wait")
    job = Process(*arguments, env=settings.to_environment_variables())
    assert job.wait_end() == 0, job.output


def panels_of(dashboard: Path) -> list[tuple[str, str]]:
    """Return the title and the expression of each query of a dashboard, with the variables replaced.

    Rates are those of ten minutes, so that they contain the whole test.
    """
    document = json.loads(dashboard.read_text())
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "10m").replace("$instance", ".*"))
        for panel in document["panels"]
        for target in panel["targets"]
    ]


async def test_dashboards_and_rules_have_data_of_a_fleet_under_load(
    settings: Settings, start_server: Callable[[Settings], Process], tmp_path: Path
) -> None:
    load_catalogue()
    async with running_fleet(settings, start_server, tmp_path, {}) as fleet:
        async with run_load(fleet.servers[0].base_url, sessions=2) as load:
            async with watchers(fleet, next(iter(load.acknowledged))):
                await load.wait_for_changes(100)
            await use_every_part(fleet)
            for _ in range(2):  # a rate needs two different values
                await asyncio.to_thread(run_job, settings)
                await fleet.prometheus.wait_for_data('synckairos_job_duration_seconds_count{outcome="done"}')
        assert load.failures == []
        await check_queries(fleet.prometheus)
        await check_rules(fleet.prometheus)
        await check_series(fleet.prometheus)


async def check_queries(prometheus: Prometheus) -> None:
    """Wait until each query of each dashboard has data, except the queries of `WITHOUT_DATA`."""
    queries = {(path.name, *each) for path in DASHBOARDS for each in panels_of(path)}
    for _, title, expression in queries:
        if title in WITHOUT_DATA:
            await prometheus.query(expression)  # Prometheus must understand it
    missing = {each for each in queries if each[1] not in WITHOUT_DATA}

    async def have_data() -> bool:
        waiting = sorted(missing)
        results = await asyncio.gather(*(prometheus.query(expression) for _, _, expression in waiting))
        for each, result in zip(waiting, results, strict=True):
            if any(series["value"][1] != "NaN" for series in result):
                missing.remove(each)
        return not missing

    with suppress(AssertionError):
        await eventually(have_data, 60)
    assert not missing, "\n".join(map(str, sorted(missing)))


async def check_rules(prometheus: Prometheus) -> None:
    """Check that Prometheus evaluates all rules, and that a healthy fleet causes no alert."""

    async def rules_by_health() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for group in (await prometheus.get("rules"))["groups"]:
            for rule in group["rules"]:
                found.setdefault(rule["health"], []).append(rule["name"])
        return found

    async def are_evaluated() -> bool:
        return "unknown" not in await rules_by_health()

    await eventually(are_evaluated, 60)
    assert set(await rules_by_health()) == {"ok"}
    assert await prometheus.firing_alerts() == set()
    queries = [query for path in DASHBOARDS for query in panels_of(path)]
    names = metrics_in(rule_expressions()).union(*(metrics_in(expression) for _, expression in queries))
    for title, expression in queries:
        if title in WITHOUT_DATA:
            names -= metrics_in(expression)
    scraped = set(await prometheus.get("label/__name__/values"))
    assert names - scraped == set()


async def check_series(prometheus: Prometheus) -> None:
    """Check the bounds of all labels, and that store-wide values are equal on all processes of a kind."""
    series = await prometheus.query('{__name__=~"synckairos_.+"}')
    values: dict[tuple[str, str, str], set[str]] = {}
    for each in series:
        labels = dict(each["metric"])
        name = re.sub(r"_(bucket|sum|count)$", "", labels.pop("__name__"))
        info = CATALOGUE.get(name) or CATALOGUE[each["metric"]["__name__"]]
        instance = labels.pop("instance")
        assert set(labels) - {"job", "le"} == set(info.max_label_values)
        for label in info.max_label_values:
            values.setdefault((info.name, label, instance), set()).add(labels[label])
    too_many = {
        key: len(found) for key, found in values.items() if len(found) > CATALOGUE[key[0]].max_label_values[key[1]]
    }
    assert too_many == {}


async def test_faults_of_processes_raise_their_alerts(
    settings: Settings, start_server: Callable[[Settings], Process], tmp_path: Path
) -> None:
    async with running_fleet(settings, start_server, tmp_path, AT_ONCE) as fleet:
        prometheus = fleet.prometheus
        await no_alert(prometheus, "SyncKairosNoInstance", "SyncKairosNoWorker", "SyncKairosProcessDown")
        fleet.worker.kill()
        await alerts_fire(prometheus, "SyncKairosNoWorker", "SyncKairosProcessDown")
        assert "SyncKairosNoInstance" not in await prometheus.firing_alerts()
        for server in fleet.servers:
            server.kill()
        await alerts_fire(prometheus, "SyncKairosNoInstance")


async def test_outages_of_stores_raise_their_alerts_and_the_alerts_end(
    settings: Settings, start_server: Callable[[Settings], Process], tmp_path: Path, data_dir: Path
) -> None:
    with (
        Valkey(data_dir / f"monitoring-valkey-{uuid4().hex[:8]}") as valkey,
        Postgres(data_dir / f"monitoring-postgres-{uuid4().hex[:8]}") as postgres,
    ):
        await migrate(postgres.url)
        urls = {"redis_url": valkey.url, "queue_redis_url": valkey.url, "database_url": postgres.url}
        own = settings.model_copy(update={**urls, "database_direct_url": None, "redis_timeout_s": 0.5})
        async with (
            running_fleet(own, start_server, tmp_path, AT_ONCE) as fleet,
            run_load(fleet.servers[0].base_url, sessions=2) as load,
        ):
            await load.wait_for_changes(20)
            await no_alert(fleet.prometheus, "SyncKairosPostgresUnavailable", "SyncKairosRedisUnavailable")
            await asyncio.to_thread(postgres.stop)
            await alerts_fire(fleet.prometheus, "SyncKairosPostgresUnavailable")
            await load.wait_for_changes(20)
            await asyncio.to_thread(postgres.start)
            await no_alert(fleet.prometheus, "SyncKairosPostgresUnavailable")
            assert load.failures == []
            await asyncio.to_thread(valkey.stop)
            await alerts_fire(fleet.prometheus, "SyncKairosRedisUnavailable", "SyncKairosCommandsFail")
            await asyncio.to_thread(valkey.start)
            await no_alert(fleet.prometheus, "SyncKairosRedisUnavailable")


async def alerts_fire(prometheus: Prometheus, *names: str) -> None:
    """Wait until all these alerts fire."""

    async def all_fire() -> bool:
        return set(names) <= await prometheus.firing_alerts()

    await eventually(all_fire, 60)


async def no_alert(prometheus: Prometheus, *names: str) -> None:
    """Wait until none of these alerts fires."""

    async def none_fires() -> bool:
        return not set(names) & await prometheus.firing_alerts()

    await eventually(none_fires, 60)
