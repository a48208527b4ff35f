"""Load test of members: the time in which one request replaces the roles of 10,000 members.

Each request changes all rows. The time is that of the request, with its transaction and its announcement, on a durable
Postgres. The client and the server share this machine. `ratio` is the goal of two seconds divided by the longest time,
so a value of 1 or more meets the goal.
"""

import argparse
import time
from contextlib import AsyncExitStack
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import orjson
import uvloop
from pydantic import SecretStr

from loadtests.compared_servers import run_server
from loadtests.report import print_result
from loadtests.revoke import SECRET, make_token
from loadtests.stores import valkey_and_postgres

GOAL_S = 2.0
LEGEND = {
    "replaced_s": "seconds of a request that changes the roles of all members, [median, longest]",
    "ratio": "goal of two seconds / longest of replaced_s",
}


async def run(members: int, rounds: int) -> dict[str, Any]:
    """Put `members` rows of as many subjects, replace their roles `rounds` times, and measure."""
    async with AsyncExitStack() as stack:
        settings, _ = await stack.enter_async_context(valkey_and_postgres())
        settings = settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
        server = await stack.enter_async_context(run_server(settings))
        headers = {"authorization": f"Bearer {make_token('admin', sub='root')}", "content-type": "application/json"}
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.base_url, headers=headers, timeout=60))
        names = [(str(uuid4()), f"label:class={number % 300}") for number in range(members)]

        async def put(role: str) -> float:
            rows = [{"subject": subject, "resource": resource, "role": role} for subject, resource in names]
            body = orjson.dumps({"members": rows})
            began = time.perf_counter()
            answer = await http.put("/v1/members", content=body)
            took_s = time.perf_counter() - began
            assert answer.json() == {"data": {"member_count": members, "changed_subject_count": members}}, answer.text
            return took_s

        await put("viewer")
        times = [await put(("participant", "controller")[number % 2]) for number in range(rounds)]
        return {
            "members": members,
            "rounds": rounds,
            "replaced_s": [round(median(times), 3), round(max(times), 3)],
            "ratio": round(GOAL_S / max(times), 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests members", description=__doc__)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print_result("members", {"legend": LEGEND, **uvloop.run(run(options.members, options.rounds))})
