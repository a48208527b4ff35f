"""The cost of validation: a body of 1 MB is refused before it can delay other requests."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from uuid import uuid4

import orjson
import pytest

from synckairos.errors import ValidationFailed
from synckairos.http.request_response import MAX_BODY_BYTES
from synckairos.wire.body_parser import parse_body
from synckairos.wire.command_bodies.participants import AdjustBody
from synckairos.wire.command_bodies.start_and_end import StartBody
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.field_types import StrictModel
from synckairos.wire.json_decode import decode_json
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.validation_faults import MAX_FAULTS

MAX_CALLS = MAX_BODY_BYTES
"""Maximum number of calls of Python and C functions: one for each byte.

A number of calls does not depend on the load.
"""


def repeat(item: bytes, enclosing: tuple[bytes, bytes]) -> bytes:
    """Return a request body that repeats an item up to the maximum size of a body."""
    begin, end = enclosing
    return begin + b",".join([item] * ((MAX_BODY_BYTES - len(begin) - len(end)) // (len(item) + 1))) + end


def bodies() -> Iterator[tuple[str, type[StrictModel], bytes]]:
    """Yield request bodies that a malicious client could send: name, model, bytes."""
    participants = (b'{"sync_mode":"global","participants":[', b"]}")
    groups = (b'{"sync_mode":"per_group","groups":[', b"]}")
    metadata = (b'{"sync_mode":"global","total_time_ms":5000,"metadata":{"a":[', b"]}}")
    commands = (b'{"session":{"sync_mode":"global"},"until_ms":1,"commands":[', b"]}")
    yield "warnings", CreateSession, repeat(b"100000", (b'{"sync_mode":"global","warnings_ms":[', b"]}"))
    yield "objects", CreateSession, repeat(b"{}", participants)
    yield "unknown fields of each", CreateSession, repeat(b'{"x":1}', participants)
    yield "ids", AdjustBody, repeat(b'"x"', (b'{"delta_ms":1,"participant_ids":[', b"]}"))
    yield "unknown fields", StartBody, orjson.dumps({f"f{at}": 1 for at in range(90_000)})
    yield "commands", SimulationBody, repeat(b"{}", commands)
    yield "names of commands", SimulationBody, repeat(b'{"at_ms":0,"command":"' + b"z" * 80 + b'"}', commands)
    yield "groups", CreateSession, repeat(b'{"x":1,"y":2,"z":3}', groups)
    yield "members", CreateSession, repeat(b'{"group_id":"x","members":[' + b'"x",' * 90 + b'"x"]}', groups)
    yield "numbers", CreateSession, repeat(b"1", metadata)
    yield "large numbers", CreateSession, repeat(b"99999999999999999", metadata)
    yield "texts", CreateSession, repeat(b'"\\u0000"', metadata)
    yield "depths", CreateSession, repeat(b"[" * 60 + b"]" * 60, metadata)
    yield "deeper objects", CreateSession, repeat(b'{"a":' * 60 + b"1" + b"}" * 60, metadata)
    stages = b'{"clock":{"stages":[' + b'{"moves":-1,"add_ms":-5,"increment_ms":-3},' * 15 + b"{}]}}"
    yield "stages", CreateSession, repeat(stages, participants)
    participants_with_fields = [
        {"participant_id": str(uuid4()), **dict.fromkeys(map(str, range(90)), 1)} for _ in range(1_000)
    ]
    yield (
        "unknown fields of each participant",
        CreateSession,
        orjson.dumps({"sync_mode": "global", "participants": participants_with_fields}),
    )


@pytest.mark.parametrize(("model", "body"), [pytest.param(*rest, id=name) for name, *rest in bodies()])
def test_a_large_invalid_body_is_refused_with_few_calls(model: type[StrictModel], body: bytes) -> None:
    assert len(body) <= MAX_BODY_BYTES
    calls = count_calls(lambda: refuse(model, body))
    assert calls < MAX_CALLS


def refuse(model: type[StrictModel], body: bytes) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_body(model, decode_json(body))
    assert len(refused.value.details) <= MAX_FAULTS + 1


def count_calls(work: Callable[[], None]) -> int:
    """Return the number of Python and C functions that `work` calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls
