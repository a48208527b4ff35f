"""OpenAPI description: it is valid and lists all operations, and by schemathesis the server conforms to it."""

import contextlib
import secrets
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from synckairos.config import Settings
from tests.integration.rest_server import RestServer, chess_body
from tests.processes import Process

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def test_description_is_valid_and_lists_all_operations(server: RestServer) -> None:
    answer = await server.client.get("/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    operations = [(path, method) for path, methods in document["paths"].items() for method in methods]
    assert len(operations) == 87
    assert ("/v1/sessions/{session_id}/switch", "post") in operations
    ids = [document["paths"][path][method]["operationId"] for path, method in operations]
    assert len(set(ids)) == len(ids)
    schemas = document["components"]["schemas"]
    assert schemas["CreateSession"]["additionalProperties"] is False
    assert schemas["CreateSession"]["properties"]["increment_ms"]["maximum"] == 34_560_000_000
    assert "default" not in schemas["CreateSession"]["properties"]["increment_ms"]
    text = answer.text
    for each in {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert each in schemas
    schemathesis.openapi.from_dict(document).validate()


async def test_description_names_the_operations_that_need_a_token(server: RestServer) -> None:
    document = (await server.client.get("/openapi.json")).json()
    assert document["security"] == [{"bearer": []}, {}]
    operations = {f"{method} {path}": each for path, item in document["paths"].items() for method, each in item.items()}
    public = {name for name, each in operations.items() if each.get("security") == []}
    assert {"get /health", "get /v1/time"} <= public
    assert not public & {"get /metrics", "post /v1/sessions", "get /v1/sessions/{session_id}"}
    assert {name for name, each in operations.items() if "401" not in each["responses"]} == public


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_server_conforms_to_the_description(
    start_server: Callable[[Settings], Process], settings: Settings, mode: GenerationMode
) -> None:
    process = start_server(settings)
    with httpx.Client(base_url=process.base_url) as client:
        ids = [_create_started(client, fields) for fields in _session_bodies()]
    schema = schemathesis.openapi.from_url(f"{process.base_url}/openapi.json")
    # A stream has no end, so each of its requests would take the whole time limit.
    found = list(schema.exclude(path="/v3/stream").get_all_operations())
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) == len(found), found
    for operation in operations:
        # There are no invalid requests for an operation without parameters.
        with contextlib.suppress(Unsatisfiable):
            _fuzz(operation, mode, ids)
    assert process.child.returncode is None


def _fuzz(operation: Any, mode: GenerationMode, ids: list[str]) -> None:
    """Call one operation with many generated requests. Some of the requests name existing sessions."""

    @given(st.data())
    @hypothesis_settings(
        max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def conforms(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        known = data.draw(st.sampled_from([None, *ids]))
        if known is not None and "session_id" in (case.path_parameters or {}):
            case.path_parameters["session_id"] = known
        headers = {"accept": "application/json", "x-request-id": secrets.token_hex(8)}
        case.call_and_validate(checks=CHECKS, headers=headers, timeout=10)

    conforms()


def _session_bodies() -> list[dict[str, Any]]:
    no_participants: list[dict[str, Any]] = []
    return [
        chess_body(increment_ms=2_000),
        chess_body(on_timeout="advance", warnings_ms=[1_000]),
        chess_body(sync_mode="per_cycle", time_per_cycle_ms=1_000, max_cycles=1_000_000),
        chess_body(sync_mode="global", participants=no_participants),
        chess_body(sync_mode="count_up"),
        chess_body(session_id=str(uuid4()), clock={"byoyomi": {"periods": 3, "period_ms": 1_000}}),
    ]


def _create_started(client: httpx.Client, body: dict[str, Any]) -> str:
    assert client.post("/v1/sessions", json=body).status_code == 201
    session_id: str = body["session_id"]
    assert client.post(f"/v1/sessions/{session_id}/start").status_code == 200
    return session_id


async def test_description_names_the_token_and_the_role_of_each_operation(server: RestServer) -> None:
    document = (await server.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}, {}]
    paths = document["paths"]
    assert paths["/v1/time"]["get"]["security"] == []
    assert "401" not in paths["/v1/time"]["get"]["responses"]
    requirements = {
        ("/v1/simulate", "post"): "With authentication: requires any credential.",
        (
            "/v1/sessions/{session_id}/start",
            "post",
        ): "With authentication: requires the role controller on the session.",
        ("/v1/webhooks", "get"): "With authentication: requires the role admin.",
        ("/v1/participants/{participant_id}/time", "get"): (
            "With authentication: requires the role admin, or the role participant and the id of the participant."
        ),
    }
    for (path, method), text in requirements.items():
        assert paths[path][method]["description"] == text
        assert "401" in paths[path][method]["responses"]
