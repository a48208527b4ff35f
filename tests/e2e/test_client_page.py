"""The client page's example does what it says."""

import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx

from tests.processes import Process

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "python-client.md"


def test_the_example_runs(serve_process: Process) -> None:
    example = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert example is not None
    people = [{"participant_id": str(uuid4()), "total_time_ms": 300_000, "display_name": n} for n in ("Ada", "Bob")]
    answer = httpx.post(
        f"{serve_process.base_url}/v1/sessions",
        json={"sync_mode": "per_participant", "participants": people},
        trust_env=False,
    )
    session_id = answer.raise_for_status().json()["data"]["session_id"]
    done = subprocess.run(
        [sys.executable, "-c", example[1], serve_process.ws_url, session_id],
        capture_output=True, check=True, timeout=30, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"running: Ada has (300|299|298) s", lines[0])
    assert lines[-2] == "3 Bob"
    assert re.fullmatch(r"The server's time is known to ± \d+ ms", lines[-1])
