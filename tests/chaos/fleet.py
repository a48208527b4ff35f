"""The processes of a run: two servers and a worker on stores of their own, behind a balancer and a proxy for Redis."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from tests.balancer import Balancer, run_balancer
from tests.e2e.retried_load import address
from tests.earlier_releases import ROOT
from tests.integration.realtime.store_proxy import StoreProxy, store_proxy
from tests.processes import Process

SERVERS = 2

REDIS_TIMEOUT_S = 3.0
"""Seconds after which a process counts Redis as away. On a loaded machine, a start needs more than one second."""


class Fleet:
    """Servers and a worker. Faults replace and suspend their processes, and cut their connections."""

    def __init__(
        self, settings: Settings, redis: Valkey, postgres: Postgres, proxy: StoreProxy, balancer: Balancer, tree: Path
    ) -> None:
        self.settings = settings
        self.redis = redis
        self.postgres = postgres
        self.proxy = proxy
        self.balancer = balancer
        self.servers: list[Process] = []
        self.workers: list[Process] = []
        self._tree = tree

    async def start_server(self, tree: Path | None = None) -> Process:
        """Start a server, and send connections to it when it is ready. `tree` has the release; None for this one."""
        server = self._start(("serve", "--port", "0"), tree)
        self.servers.append(server)
        await asyncio.to_thread(server.wait_ready)
        self.balancer.targets.append(address(server))
        return server

    async def start_worker(self, tree: Path | None = None) -> Process:
        """Start a worker, and wait until it has connected to Redis."""
        worker = self._start(("worker",), tree)
        self.workers.append(worker)
        await asyncio.to_thread(worker.wait_for_line, lambda line: "worker started" in line)
        return worker

    def _start(self, arguments: tuple[str, ...], tree: Path | None) -> Process:
        source = tree or self._tree
        return Process(
            *arguments,
            env={**self.settings.to_environment_variables(), "PYTHONPATH": f"{source}:{source / 'clients/python'}"},
            cwd=source,
            command=(sys.executable, "-P", "-m", "synckairos"),
        )

    async def end_server(self, server: Process, *, kill: bool = False) -> None:
        """Stop or kill a server. Connections go to the other servers."""
        self.balancer.targets.remove(address(server))
        await asyncio.to_thread(server.kill if kill else server.stop)
        self.servers.remove(server)

    async def end_worker(self, worker: Process, *, kill: bool = False) -> None:
        """Stop or kill a worker."""
        await asyncio.to_thread(worker.kill if kill else worker.stop)
        self.workers.remove(worker)

    async def stop(self) -> None:
        """Stop all processes."""
        for process in [*self.servers, *self.workers]:
            await asyncio.to_thread(process.stop)

    def tracebacks(self) -> list[str]:
        """Return the outputs of the servers that have a traceback."""
        return [each.output for each in self.servers if "Traceback" in each.output]


@asynccontextmanager
async def running_fleet(
    folder: Path, settings: Settings, postgres: Postgres, *, tree: Path = ROOT
) -> AsyncIterator[Fleet]:
    """Start a fleet with a Valkey of its own in `folder`. `settings` has its database, which is in `postgres`.

    `tree` has the source of the processes. The Valkey loses no acknowledged write when it is killed.
    """
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(Valkey(folder / "redis", appendfsync="always"))
        proxy = await stack.enter_async_context(store_proxy(redis.url))
        balancer = await stack.enter_async_context(run_balancer([]))
        own = settings.model_copy(
            update={
                "redis_url": proxy.url,
                "queue_redis_url": proxy.url,
                "redis_timeout_s": REDIS_TIMEOUT_S,
                "drain_timeout_s": 1,
            }
        )
        fleet = Fleet(own, redis, postgres, proxy, balancer, tree)
        stack.push_async_callback(fleet.stop)
        await asyncio.gather(fleet.start_worker(), *(fleet.start_server() for _ in range(SERVERS)))
        yield fleet


def copy_tree(folder: Path) -> Path:
    """Copy the source that the processes need to `folder`, and return its path."""
    for name in ("synckairos", "migrations", "clients/python"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
