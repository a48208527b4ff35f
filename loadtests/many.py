"""Load test of one command for many sessions: the time from `POST /v1/sessions/commands` to its answer.

Sessions with one label run on an instance with a worker. Each round pauses all of them by the label, and resumes them.
Beside this, each round pauses and resumes the same sessions by one request for each, from 32 connections. Half of the
rounds begin with the one kind, half with the other. `goal_ratio` is the goal of one second divided by the median time
of a command by label, so a value of 1 or more meets the goal. `single_ratio` is the time of the single requests divided
by the time of the command for many.
"""

import argparse
import asyncio
import statistics
import time
from typing import Any
from uuid import uuid4

import orjson
import uvloop

from loadtests.compared_servers import run_server
from loadtests.http_client import HttpConnection
from loadtests.report import print_result
from loadtests.sessions import start_session_by_rest
from loadtests.stores import valkey_and_postgres
from tests.processes import Process

GOAL_S = 1.0
CONNECTIONS = 32
LABEL = "round=1"


async def command_many(connection: HttpConnection, command: str, sessions: int) -> float:
    """Send a command to all sessions with the label. Return the seconds until the answer."""
    began = time.perf_counter()
    body = orjson.dumps({"label": [LABEL], "command": command, "command_id": str(uuid4())})
    status, answer = await connection.post("/v1/sessions/commands", body)
    took_s = time.perf_counter() - began
    assert status == 200, answer
    results = orjson.loads(answer)["data"]["results"]
    assert len(results) == sessions, len(results)
    assert not [each for each in results if "version" not in each], answer
    return took_s


async def command_each(connections: list[HttpConnection], session_ids: list[str], command: str) -> float:
    """Send a command to each session in a request of its own. Return the seconds until the last answer."""
    began = time.perf_counter()
    waiting = iter(session_ids)

    async def send(connection: HttpConnection) -> None:
        for session_id in waiting:
            status, answer = await connection.post(f"/v1/sessions/{session_id}/{command}")
            assert status == 200, answer

    await asyncio.gather(*(send(each) for each in connections))
    return time.perf_counter() - began


async def run(sessions: int, rounds: int) -> dict[str, Any]:
    async with valkey_and_postgres(durable=False) as (settings, _):
        worker = Process("worker", env=settings.to_environment_variables())
        try:
            async with run_server(settings) as server:
                connections = [await HttpConnection.open(server.base_url) for _ in range(CONNECTIONS)]
                labels = dict([LABEL.split("=")])
                ids = [await start_session_by_rest(connections[0], labels=labels) for _ in range(sessions)]
                many, each = list[float](), list[float]()
                for number in range(rounds):
                    for kind in ("many", "each") if number % 2 else ("each", "many"):
                        for command in ("pause", "resume"):
                            if kind == "many":
                                many.append(await command_many(connections[0], command, sessions))
                            else:
                                each.append(await command_each(connections, ids, command))
        finally:
            await asyncio.to_thread(worker.stop)
    return {
        "sessions": sessions,
        "many_s": {"median": round(statistics.median(many), 3), "worst": round(max(many), 3)},
        "each_s": {"median": round(statistics.median(each), 3), "worst": round(max(each), 3)},
        "goal_ratio": round(GOAL_S / statistics.median(many), 2),
        "worst_goal_ratio": round(GOAL_S / max(many), 2),
        "single_ratio": round(statistics.median(each) / statistics.median(many), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests many", description=__doc__)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    print_result("many", uvloop.run(run(options.sessions, options.rounds)))
