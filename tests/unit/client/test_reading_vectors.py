"""The readings of the Python client and of the web pages are those of the shared vectors, which the engine made."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from synckairos.http.page_files import page_folder
from synckairos_client import SyncMode
from synckairos_client.generated.clock.budget import ClockReadingDetails
from synckairos_client.generated.wire.session_parser import session_from_json
from synckairos_client.readings import (
    expected_starts_ms,
    participant_remaining_ms,
    remaining_ms_at,
    session_charged_until,
    used_ms_at,
)
from tests.unit.client.reading_vectors import FACTS, FILE, render

VECTORS: list[dict[str, Any]] = orjson.loads(FILE.read_bytes())


def test_file_of_vectors_is_what_the_engine_makes() -> None:
    assert FILE.read_bytes() == render(), "stale: python -m tests.unit.client.reading_vectors"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_client_shows_what_the_vector_shows(vector: dict[str, Any]) -> None:
    state, now_ms, shown = session_from_json(vector["session"]), vector["now_ms"], vector["shown"]
    charged = session_charged_until(state, now_ms)
    assert used_ms_at(state, now_ms) == shown["time_used_ms"]
    if state.rules.sync_mode in (SyncMode.PER_CYCLE, SyncMode.GLOBAL, SyncMode.COUNT_UP):
        assert remaining_ms_at(state, now_ms) == shown["time_remaining_ms"]
    assert expected_starts_ms(state, now_ms) == vector.get("expected_starts", {})
    for each in charged.participants:
        assert shown["participants"][each.participant_id] == {
            "time_used_ms": used_ms_at(state, now_ms, each.participant_id),
            "time_remaining_ms": participant_remaining_ms(charged, each),
        } | facts(each.reading)
        assert remaining_ms_at(state, now_ms, each.participant_id) == participant_remaining_ms(charged, each)
    for group in charged.groups:
        times = {"time_used_ms": group.used_ms, "time_remaining_ms": group.remaining_ms}
        assert shown["groups"][group.group_id] == times | facts(group.reading)


def test_web_pages_show_what_the_vectors_show() -> None:
    # Node loads a module only if its name or its package says that it is a module, so the source is given as a URL.
    source = base64.b64encode((page_folder("demo") / "sdk.js").read_bytes()).decode()
    program = Path(__file__).with_name("reading_vectors.mjs")
    command = ["node", str(program), f"data:text/javascript;base64,{source}", str(FILE)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30, text=True)
    assert orjson.loads(done.stdout) == []


def facts(reading: ClockReadingDetails | None) -> dict[str, Any]:
    values = {name: getattr(reading, name) for name in FACTS} if reading is not None else {}
    return {name: value for name, value in values.items() if value is not None}
