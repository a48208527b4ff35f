"""The processes that contain a client, and the combinations of client and transport that the suite tests."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

DEADLINE_S = 20.0

ROOT = Path(__file__).parents[2]
JAVASCRIPT = ROOT / "clients" / "js"


@dataclass(frozen=True, slots=True)
class Lane:
    """A client with a transport. `name` is its heading in the page of guarantees."""

    id: str
    name: str
    transport: str


LANES = (
    Lane("python", "Python", "websocket"),
    Lane("python-stream", "Python, event stream", "event-stream"),
    Lane("javascript", "JavaScript", "websocket"),
    Lane("javascript-stream", "JavaScript, event stream", "event-stream"),
)


class Refused(Exception):
    """The client raised an error. The text is its code."""


class SdkProcess:
    """A process with one client and one watched session. Requests are answered, and notices are kept."""

    def __init__(self, process: asyncio.subprocess.Process, lane: Lane) -> None:
        self.lane = lane
        self.updates: list[dict[str, Any]] = []
        """The updates of the watch, oldest first."""
        self.ended: str | None = None
        """Code of the error that ended the watch, None while it continues."""
        self.token_requests = 0
        self._process = process
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()

    async def request(self, op: str, **args: Any) -> Any:
        """Send a request, and return its result. Raises: Refused with the code of the client's error."""
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps({"id": number, "op": op, "args": args}) + b"\n")
        async with asyncio.timeout(DEADLINE_S):
            return await future

    async def connect(self, ws_url: str, **options: Any) -> None:
        """Connect to the server at `ws_url`, `ws://host:port/ws`, with the transport of the lane."""
        url = ws_url.removesuffix("/ws").replace("ws://", "http://")
        await self.request("connect", url=url, transport=self.lane.transport, **options)

    async def command(self, name: str, args: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Send a command to the watched session, and return `version` and `epoch` of the answer."""
        answer: dict[str, Any] = await self.request("command", name=name, args=args or {}, **options)
        return answer

    async def until(self, is_reached: Callable[[], bool]) -> None:
        """Wait until a condition about the notices is true."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not is_reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not reached; updates {self.updates}, ended {self.ended}") from None

    async def until_version(self, version: int) -> None:
        """Wait until the newest state has this version."""
        await self.until(lambda: bool(self.updates) and self.updates[-1]["version"] == version)

    def versions(self) -> list[int]:
        return [update["version"] for update in self.updates]

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def read_answers(self) -> None:
        """Read the output of the process until its end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = orjson.loads(line)
            if (number := message.get("id")) is not None:
                future = self._answers.pop(number)
                if future.cancelled():
                    continue
                if "error" in message:
                    future.set_exception(Refused(message["error"]))
                else:
                    future.set_result(message["result"])
                continue
            match message["notice"]:
                case "update":
                    self.updates.append(message)
                case "ended":
                    self.ended = message["code"]
                case "token":
                    self.token_requests += 1
            self._changed.set()


def bundle_javascript(folder: Path) -> Path:
    """Bundle the JavaScript client with its adapter, and return the program."""
    program = folder / "adapter.mjs"
    esbuild = JAVASCRIPT / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        subprocess.run(["make", "--silent", "clients/js/node_modules/.installed"], check=True, cwd=ROOT)
    # `ws` uses `require`, which a module does not have.
    banner = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
    options = ["--bundle", "--platform=node", "--format=esm", "--log-level=warning", f"--banner:js={banner}"]
    source = JAVASCRIPT / "test" / "conformance" / "adapter.ts"
    subprocess.run([esbuild, source, *options, f"--outfile={program}"], check=True, cwd=JAVASCRIPT)
    return program


@asynccontextmanager
async def sdk_process(lane: Lane, javascript: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[SdkProcess]:
    """Run a client in a process of its own. `javascript` is the result of `bundle_javascript`."""
    python = [sys.executable, "-m", "tests.conformance.python_adapter"]
    command = python if lane.id.startswith("python") else ["node", str(javascript)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **(env or {})}, cwd=ROOT
    )
    sdk = SdkProcess(process, lane)
    reading = asyncio.create_task(sdk.read_answers())
    try:
        yield sdk
    finally:
        process.kill()
        await process.wait()
        await reading
