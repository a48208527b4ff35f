"""Pictures of the Grafana dashboards, from the metrics of two instances and a worker under load.

Prometheus scrapes the processes while sessions are created, switched, watched, listed, expired and archived. Then each
query of each dashboard in `deploy/grafana` is asked for the whole time, and `draw_dashboard` draws the panels in their
order and size. It is not Grafana, but the panels, titles, units and queries are those of the dashboards.
`--folder docs/images` replaces the pictures of the documentation.
"""

import argparse
import asyncio
import json
import random
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import uvloop

from loadtests.stores import valkey_and_postgres
from synckairos.config import Settings
from tests.deployment_environment import PYTHON
from tests.e2e.load import Load, run_load
from tests.e2e.test_monitoring import DASHBOARDS, Fleet, run_job, running_fleet, use_every_part, watchers
from tests.processes import Process, spawn_server
from tests.prometheus import Prometheus

RATE_INTERVAL = "20s"
"""Time of rates. Prometheus scrapes each second, as in the tests."""

STEP_S = 2


@asynccontextmanager
async def tasks_until_end(work: Iterable[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Repeat each function until the end of the block."""

    async def repeat(function: Callable[[], Awaitable[None]]) -> None:
        while True:
            await function()

    tasks = [asyncio.ensure_future(repeat(each)) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def put_load(fleet: Fleet, load: Load, settings: Settings, seconds: float, sessions: int) -> None:
    """Use all parts of the fleet for this number of seconds."""
    ids = list(load.acknowledged)

    def presser(session_id: str) -> Callable[[], Awaitable[None]]:
        async def press() -> None:
            await asyncio.sleep(random.uniform(0.2, 1.8))  # people do not press in step
            await load.switch(session_id)

        return press

    async def use_parts() -> None:
        await use_every_part(fleet)
        await asyncio.sleep(3)

    async def run_jobs() -> None:
        await asyncio.to_thread(run_job, settings)
        await asyncio.sleep(20)

    async with AsyncExitStack() as stack:
        for session_id in ids[: sessions // 2]:
            await stack.enter_async_context(watchers(fleet, session_id))
        await stack.enter_async_context(tasks_until_end([*map(presser, ids), use_parts, run_jobs]))
        await asyncio.sleep(seconds)


async def data_of(document: dict[str, Any], prometheus: Prometheus, began: float, ended: float) -> dict[str, Any]:
    """Return the title and the time range of a dashboard, and its panels.

    Each panel has its position, title, type and unit, and the series of its queries. `document` is the file of the
    dashboard. Times are seconds since the Unix epoch.
    """
    panels = []
    for panel in document["panels"]:
        series = []
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*")
            found = await prometheus.get(
                "query_range", query=expression, start=f"{began}", end=f"{ended}", step=f"{STEP_S}"
            )
            series += [
                {"legend": target["legendFormat"], "labels": each["metric"], "values": each["values"]}
                for each in found["result"]
            ]
        defaults = panel["fieldConfig"]["defaults"]
        panels.append(
            {key: panel[key] for key in ("title", "type", "gridPos")} | {"unit": defaults["unit"], "series": series}
        )
    return {"title": document["title"], "began": began, "ended": ended, "panels": panels}


def draw(data: dict[str, Any], path: Path) -> None:
    """Draw a dashboard into a PNG file, in the environment that has the drawing library."""
    subprocess.run(
        [PYTHON, Path(__file__).parent / "draw_dashboard.py", path],
        input=json.dumps(data), text=True, check=True,
    )  # fmt: skip


async def run(options: argparse.Namespace) -> None:
    servers: list[Process] = []

    def start_server(settings: Settings) -> Process:
        servers.append(spawn_server(settings))
        return servers[-1]

    try:
        async with valkey_and_postgres(durable=False) as (stores, _):
            settings = stores.model_copy(update={"rate_limit_general": 100_000, "rate_limit_switch": 100_000})
            with TemporaryDirectory() as folder:
                async with running_fleet(settings, start_server, Path(folder), {}) as fleet:
                    async with run_load(fleet.servers[0].base_url, sessions=0) as load:
                        for _ in range(options.sessions):
                            await load.start_session(str(uuid4()))
                        began = time.time()
                        await put_load(fleet, load, settings, options.seconds, options.sessions)
                    for dashboard in DASHBOARDS:
                        document = json.loads(dashboard.read_text())
                        data = await data_of(document, fleet.prometheus, began, began + options.seconds)
                        await asyncio.to_thread(draw, data, options.folder / f"dashboard-{dashboard.stem}.png")
    finally:
        for server in servers:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests dashboard_pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--seconds", type=float, default=120, help="seconds of load")
    parser.add_argument("--sessions", type=int, default=40, help="sessions, each with about one switch a second")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    uvloop.run(run(options))
