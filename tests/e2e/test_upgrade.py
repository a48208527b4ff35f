"""The steps of the page about upgrades, from the release before and back, while clients send commands."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from synckairos.config import Settings
from tests.e2e.retried_load import address, run_retried_load
from tests.earlier_releases import BEFORE_STORE_FORMAT, EarlierRelease
from tests.processes import Process
from tests.unit.docs.pages import DOCUMENTS, code_blocks

pytestmark = pytest.mark.slow


class Fleet:
    """A server and a worker, of the release before or of this one."""

    def __init__(self, settings: Settings, old: EarlierRelease) -> None:
        self.settings = settings
        self._old = old
        self.running: dict[str, Process] = {}

    async def start(self, command: str, *, is_old: bool) -> Process:
        """Start `serve` or `worker` of a release, and wait until it is ready."""
        arguments = (command, "--port", "0") if command == "serve" else (command,)
        process = (
            self._old.process(*arguments, settings=self.settings)
            if is_old
            else Process(*arguments, env=self.settings.to_environment_variables())
        )
        self.running[f"{'old' if is_old else 'new'} {command}"] = process
        if command == "serve":
            return await asyncio.to_thread(process.wait_ready)
        await asyncio.to_thread(process.wait_for_line, lambda line: "worker started" in line)
        return process

    async def start_both(self, *, is_old: bool) -> Process:
        """Start a server and a worker of a release at the same time. Return the server."""
        server, _ = await asyncio.gather(*(self.start(each, is_old=is_old) for each in ("serve", "worker")))
        return server

    async def stop(self, name: str) -> Process:
        """Stop a process with SIGTERM, such as `old worker`."""
        process = self.running.pop(name)
        assert await asyncio.to_thread(process.stop) == 0
        return process


@pytest.fixture
async def fleet(settings: Settings, bare_database_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Start the release before on an empty database, after its migration."""
    own = settings.model_copy(update={"database_url": bare_database_url, "database_direct_url": None})
    old = EarlierRelease(BEFORE_STORE_FORMAT, tmp_path / "old")
    assert await asyncio.to_thread(old.process("migrate", settings=own).wait_end) == 0
    found = Fleet(own, old)
    yield found
    for process in found.running.values():
        await asyncio.to_thread(process.stop)


async def run_commands(block: str, settings: Settings) -> str:
    """Run commands of the page with this release. Return what they printed."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", block.replace("synckairos ", f"{sys.executable} -m synckairos ")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"]} | settings.to_environment_variables(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_upgrade_from_the_release_before_and_rollback_lose_no_acknowledged_command(fleet: Fleet) -> None:
    page = (DOCUMENTS / "operate" / "upgrade.md").read_text()
    migrate, complete = code_blocks("\n".join(line.removeprefix("   ") for line in page.splitlines()) + "\n", "bash")
    settings = fleet.settings
    old_server = await fleet.start_both(is_old=True)
    async with run_retried_load(settings, [address(old_server)]) as (load, balancer):
        await run_commands(migrate, settings)
        await load.wait_for_all_senders()
        await fleet.start("worker", is_old=False)
        await fleet.stop("old worker")
        balancer.targets.append(address(await fleet.start("serve", is_old=False)))
        await load.wait_for_all_senders()  # both releases serve
        balancer.targets.remove(address(old_server))
        await fleet.stop("old serve")
        await load.wait_for_all_senders()

        # The way back, and forward again.
        old_server = await fleet.start_both(is_old=True)
        balancer.targets[:] = [address(old_server)]
        await fleet.stop("new worker")
        await fleet.stop("new serve")
        await load.wait_for_all_senders()
        balancer.targets[:] = [address(await fleet.start_both(is_old=False))]
        for name in ("old worker", "old serve"):
            await fleet.stop(name)
        assert "BAD" not in await run_commands(complete, settings)
