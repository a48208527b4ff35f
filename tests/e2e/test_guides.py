"""The commands of the start pages and the guides, run as written against a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest
from pydantic import SecretStr

from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.processes import Process
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks

ADDRESS = "127.0.0.1:3000"

REFUSALS = {
    "start/README": ["FORBIDDEN"],
    "guides/chess": ["NOT_ACTIVE_PARTICIPANT"],
    "guides/quiz": ["TURN_OVER"],
    "guides/auction": ["NOT_ACTIVE_PARTICIPANT"],
    "guides/exam": [],
    "guides/debate": ["INVALID_STATE_TRANSITION"],
    "guides/meeting": ["TURN_OVER", "CONFLICT"],
    "guides/hours": [],
    "guides/correspondence": [],
}
"""The refusal codes of the shell commands on each page, in order, by page."""


def page_path(name: str) -> Path:
    return DOCUMENTS / f"{name}.md"


def snippets(name: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language. Fail if the page has none."""
    found = code_blocks(page_path(name).read_text(), language)
    assert found, f"{name} has no {language} snippet"
    return found


def localised(code: str, server: Process) -> str:
    """Return the code with the address of the test's server and with this Python instead of the documented ones."""
    code = code.replace(".venv/bin/synckairos", f"{sys.executable} -m synckairos")
    return code.replace(ADDRESS, server.base_url.removeprefix("http://"))


def run_shell(name: str, server: Process) -> list[str]:
    """Run all shell commands of a page in one shell. Return the codes of the refusals, in order."""
    script = localised("\n".join(snippets(name, "bash")), server)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, check=True, timeout=60, text=True
    )
    answers = [orjson.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert answers, f"{name} printed no answer"
    return [answer["error"]["code"] for answer in answers if "error" in answer]


@pytest.fixture
def signed_in_server(
    settings: Settings, start_server: Callable[[Settings], Process], monkeypatch: pytest.MonkeyPatch
) -> Process:
    """Start a server with authentication, as `make run ARGS=--auth` does, and set the variables that it prints."""
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("SYNCKAIROS_TOKEN", make_token(role="admin"))
    return start_server(settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))


def test_shell_commands_of_each_guide_are_answered_as_the_page_says(serve_process: Process) -> None:
    expected = {name: codes for name, codes in REFUSALS.items() if not name.startswith("start/")}
    assert {name: run_shell(name, serve_process) for name in expected} == expected


@pytest.mark.parametrize("name", REFUSALS)
def test_every_switch_of_a_page_names_its_participant_or_its_turn(name: str) -> None:
    script = "\n".join(snippets(name, "bash")).replace("\\\n", " ")
    switches = [line for line in script.splitlines() if "/switch" in line]
    assert all("current_participant_id" in line or "expected_turn" in line for line in switches)


def test_every_page_with_shell_commands_is_tested() -> None:
    pages = {path for folder in ("start", "modes", "guides") for path in (DOCUMENTS / folder).rglob("*.md")}
    # in test_signing_keys.py, test_api_keys.py, test_links.py, test_members.py and
    # integration/process/test_tenants_guide.py
    tested_elsewhere = {
        page_path(f"guides/{name}") for name in ("authentication", "api-keys", "links", "members", "tenants")
    }
    tested = {page_path(name) for name in REFUSALS} | tested_elsewhere
    assert {path for path in pages if "```bash" in path.read_text()} == tested


def test_commands_and_programs_of_the_start_pages_and_examples_of_modes_work_as_written(
    signed_in_server: Process,
) -> None:
    # All parts share one server, because its start takes longer than the parts.
    assert run_shell("start/README", signed_in_server) == REFUSALS["start/README"]
    javascript = run_program(
        # In Node 20 this option enables the WebSocket that later versions have by default.
        ["node", "--experimental-websocket", "--no-warnings", "--input-type=module", "-e"],
        localised(snippets("start/javascript", "js")[0], signed_in_server),
    )
    assert javascript[-1] == "4 completed undefined"

    python = run_program([sys.executable, "-c"], localised(snippets("start/python", "python")[0], signed_in_server))
    assert python[0] == "3 running Black"
    assert re.fullmatch(r"White: 30[23]\.\d s", python[1])
    assert re.fullmatch(r"Black: (300|29\d)\.\d s", python[2])

    with httpx.Client(base_url=signed_in_server.base_url, trust_env=False) as client:
        modes = []
        headers = {"Content-Type": "application/json"} | bearer(os.environ["SYNCKAIROS_TOKEN"])
        for body in snippets("modes/README", "json"):
            answer = client.post("/v1/sessions", content=body, headers=headers)
            modes.append(answer.raise_for_status().json()["data"]["sync_mode"])
    assert modes == list(SyncMode)


def run_program(command: list[str], program: str) -> list[str]:
    """Run a program and return the lines that it printed."""
    done = subprocess.run([*command, program], capture_output=True, check=True, timeout=30, text=True)
    return done.stdout.splitlines()


def test_mode_page_shows_a_picture_of_each_mode() -> None:
    pictures = re.findall(r"\(\.\./images/mode-([a-z-]+)\.svg\)", page_path("modes/README").read_text())
    assert pictures == [mode.replace("_", "-") for mode in SyncMode]
