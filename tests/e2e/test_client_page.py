"""The example of the Python client's page, run as written against a real server."""

import re
import subprocess
import sys
from uuid import uuid4

import httpx

from tests.processes import Process
from tests.unit.docs.pages import DOCUMENTS, code_blocks

PAGE = DOCUMENTS / "guides" / "python-client.md"


def test_client_example_prints_each_turn_and_the_time_error(serve_process: Process) -> None:
    people = [{"participant_id": str(uuid4()), "total_time_ms": 300_000, "display_name": n} for n in ("Ada", "Bob")]
    answer = httpx.post(
        f"{serve_process.base_url}/v1/sessions",
        json={"sync_mode": "per_participant", "participants": people},
        trust_env=False,
    )
    session_id = answer.raise_for_status().json()["data"]["session_id"]
    done = subprocess.run(
        [sys.executable, "-c", code_blocks(PAGE.read_text(), "python")[0], serve_process.ws_url, session_id],
        capture_output=True, check=True, timeout=30, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"running: Ada has (300|299|298) s", lines[0])
    assert lines[-2] == "3 Bob"
    assert re.fullmatch(r"The server's time is known to ± \d+ ms", lines[-1])
