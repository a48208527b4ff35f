"""No body of a megabyte keeps the others waiting: what is too much is refused before it is looked at closely."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from uuid import uuid4

import orjson
import pytest

from synckairos.errors import ValidationFailed
from synckairos.http.request import MAX_BODY_BYTES
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.field_types import StrictModel
from synckairos.wire.json_decode import decode_json
from synckairos.wire.request_bodies import AdjustBody, SimulationBody, StartBody, parse_body
from synckairos.wire.validation_faults import MAX_FAULTS

ENOUGH = MAX_BODY_BYTES
"""Calls, of Python and of C: one a byte. Counted rather than timed, so that a busy machine says the same."""


def many(item: bytes, around: tuple[bytes, bytes]) -> bytes:
    """Return as many of an item as a body has room for."""
    begin, end = around
    return begin + b",".join([item] * ((MAX_BODY_BYTES - len(begin) - len(end)) // (len(item) + 1))) + end


def bodies() -> Iterator[tuple[str, type[StrictModel], bytes]]:
    """Yield what a malicious client might send."""
    participants = (b'{"sync_mode":"global","participants":[', b"]}")
    groups = (b'{"sync_mode":"per_group","groups":[', b"]}")
    metadata = (b'{"sync_mode":"global","total_time_ms":5000,"metadata":{"a":[', b"]}}")
    commands = (b'{"session":{"sync_mode":"global"},"until_ms":1,"commands":[', b"]}")
    yield "warnings", CreateSession, many(b"100000", (b'{"sync_mode":"global","warnings_ms":[', b"]}"))
    yield "objects", CreateSession, many(b"{}", participants)
    yield "unknown fields of each", CreateSession, many(b'{"x":1}', participants)
    yield "ids", AdjustBody, many(b'"x"', (b'{"delta_ms":1,"participant_ids":[', b"]}"))
    yield "unknown fields", StartBody, orjson.dumps({f"f{at}": 1 for at in range(90_000)})
    yield "commands", SimulationBody, many(b"{}", commands)
    yield "names of commands", SimulationBody, many(b'{"at_ms":0,"command":"' + b"z" * 80 + b'"}', commands)
    yield "groups", CreateSession, many(b'{"x":1,"y":2,"z":3}', groups)
    yield "members", CreateSession, many(b'{"group_id":"x","members":[' + b'"x",' * 90 + b'"x"]}', groups)
    yield "numbers", CreateSession, many(b"1", metadata)
    yield "large numbers", CreateSession, many(b"99999999999999999", metadata)
    yield "texts", CreateSession, many(b'"\\u0000"', metadata)
    yield "depths", CreateSession, many(b"[" * 60 + b"]" * 60, metadata)
    yield "deeper objects", CreateSession, many(b'{"a":' * 60 + b"1" + b"}" * 60, metadata)
    stages = b'{"clock":{"stages":[' + b'{"moves":-1,"add_ms":-5,"increment_ms":-3},' * 15 + b"{}]}}"
    yield "stages", CreateSession, many(stages, participants)
    people = [{"participant_id": str(uuid4()), **dict.fromkeys(map(str, range(90)), 1)} for _ in range(1_000)]
    yield "everybody's unknown fields", CreateSession, orjson.dumps({"sync_mode": "global", "participants": people})


@pytest.mark.parametrize(("model", "body"), [pytest.param(*rest, id=name) for name, *rest in bodies()])
def test_no_body_costs_much_to_refuse(model: type[StrictModel], body: bytes) -> None:
    assert len(body) <= MAX_BODY_BYTES
    calls = calls_of(lambda: refuse(model, body))
    assert calls < ENOUGH


def refuse(model: type[StrictModel], body: bytes) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_body(model, decode_json(body))
    assert len(refused.value.details) <= MAX_FAULTS + 1


def calls_of(work: Callable[[], None]) -> int:
    """Count the calls that some work takes."""
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
