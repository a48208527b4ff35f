"""OpenAPI 3.1 description of REST, generated from the table of operations and the models that validate requests."""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel

from synckairos import __version__
from synckairos.http import api_examples
from synckairos.http.json_schemas import SchemaGenerator, add_field_docs, schema_ref, schemas_for, without_titles
from synckairos.http.operations import Operation
from synckairos.http.path_forms import path_schema
from synckairos.service.access_rules import ACCESS_RULES, Scope
from synckairos.wire import response_models
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.field_docs import FIELD_DESCRIPTIONS

COMMON_REFUSALS = (400, 500, 503)
"""Error statuses of each rate-limited operation, in addition to 403 and 429."""

PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

_REQUIREMENTS: dict[Scope, str] = {
    "none": "requires any credential",
    "session": "requires the role {least} on the session",
    "participant": "requires the role admin, or the role {least} and the id of the participant",
    "tenant": "requires the role {least}",
}
"""Text about the right that an access rule requires, by the scope of the rule."""

_REPEATABLE = frozenset({("POST", "sessions"), ("PATCH", "sessions"), ("PUT", "sessions"), ("POST", "webhooks")})
"""HTTP methods and tags of operations with the header `Idempotency-Key`."""

TAG_DESCRIPTIONS = [
    {"name": "sessions", "description": "Create, read, change and delete sessions."},
    {
        "name": "history",
        "description": "Lists of sessions, events of a session, and the sessions and time report of a participant.",
    },
    {
        "name": "webhooks",
        "description": "Endpoints that receive events as signed HTTP requests. Only administrators manage them.",
    },
    {
        "name": "access",
        "description": "Administrative acts and refused requests. The log is empty while authentication is off.",
    },
    {
        "name": "credentials",
        "description": "The end of credentials and sockets. All operations answer 403 while authentication is off.",
    },
    {
        "name": "tenants",
        "description": "Limits, origins and suspension of tenants. Only keys of operators open these operations.",
    },
    {
        "name": "operation",
        "description": "Background jobs and failed audit entries of all tenants. Only keys of operators open these "
        "operations, or each caller while authentication is off.",
    },
    {
        "name": "event streams",
        "description": "The messages of `synckairos.v3`, see `/asyncapi.json`, where WebSockets are blocked.",
    },
    {
        "name": "presets",
        "description": "Complete sessions of known games and formats, for `POST /v1/sessions`.",
    },
    {"name": "simulation", "description": "Simulation of a session with the server's rules. Nothing is stored."},
    {"name": "system", "description": "Time, health, metrics and API descriptions of the server."},
]


SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "Token of a caller. Required if the server has authentication, otherwise ignored.",
}


def render_openapi(operations: Sequence[Operation], root_path: str = "") -> bytes:
    """Return the OpenAPI description as JSON. Operations without a summary are omitted.

    `root_path` is the public sub-path, such as `/clock`. Empty if there is no sub-path.
    """
    described = [operation for operation in operations if operation.summary]
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "SyncKairos",
                "version": __version__,
                "description": "Timed sessions that clients share. Durations are whole milliseconds, and instants are "
                "ISO 8601 in UTC.",
            },
            "servers": [{"url": root_path or "/"}],
            "security": [{"bearer": []}, {}],
            "tags": TAG_DESCRIPTIONS,
            "paths": _paths(described),
            "components": {
                "securitySchemes": {"bearer": SECURITY_SCHEME},
                "schemas": _schemas(described),
                "examples": {name: {"value": value} for name, value in api_examples.example_answers().items()},
            },
        },
        option=orjson.OPT_INDENT_2,
    )


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    models: dict[type[BaseModel], None] = dict.fromkeys(
        (response_models.Problem, response_models.FaultView, *COMMAND_BODIES.values())
    )
    for operation in operations:
        models |= dict.fromkeys(m for m in (operation.body_model, operation.response_model) if m is not None)
        models |= dict.fromkeys(operation.other_body_models)
    return _cached_schemas(tuple(models))


# The result is cached, because models never change in a process and the schemas are the slowest part of its start.
@cache
def _cached_schemas(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    return schemas_for(models)


def _paths(operations: Sequence[Operation]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation_object(operation)
    return paths


def _operation_object(operation: Operation) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9]+", "_", operation.path.removeprefix("/v1").lower()).strip("_")
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{name}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    rule = ACCESS_RULES[operation.verb]
    if rule.least == "public" and 401 not in operation.refusal_statuses:
        described["security"] = []
    elif rule.least == "public":
        described["description"] = "With authentication: a token is optional."
    elif rule.least == "operator":
        described["description"] = "Requires the key of an operator."
    else:
        described["description"] = f"With authentication: {_REQUIREMENTS[rule.scope].format(least=rule.least)}."
    if operation.body_model is not None:
        forms = [schema_ref(each) for each in (operation.body_model, *operation.other_body_models)]
        shown: dict[str, Any] = {"schema": forms[0] if len(forms) == 1 else {"anyOf": forms}}
        if (example := api_examples.REQUEST_BODIES.get(operation.body_model.__name__)) is not None:
            shown["example"] = example
        types = ("application/json", *(t for t in operation.media_types if t.endswith("+json")))
        described["requestBody"] = {
            "required": operation.is_body_required,
            "content": dict.fromkeys(types, shown),
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": path_schema(name)}
        | ({"description": FIELD_DESCRIPTIONS[name]} if name in FIELD_DESCRIPTIONS else {})
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query_model is not None:
        parameters += _query_parameters(operation.query_model)
    if operation.tag == "sessions" and operation.method != "GET" and 412 in operation.refusal_statuses:
        parameters.append(_header("If-Match", "ETag of the expected version. Another version is refused with 412."))
    if operation.tag == "sessions" and 304 in operation.refusal_statuses:
        parameters.append(
            _header(
                "If-None-Match",
                "ETag of a version that the client has. If it is the current version, the response is 304.",
            )
        )
    if (operation.method, operation.tag) in _REPEATABLE:
        key = _header(
            "Idempotency-Key",
            "Unique id of the request. A retry with the same key gets the same answer and has no further effect.",
        )
        key["schema"] |= {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        parameters.append(key)
    return parameters


@cache
def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = without_titles(model.model_json_schema(schema_generator=SchemaGenerator, by_alias=True))
    add_field_docs(schema)
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema["properties"].items()
    ]


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


_SCHEMAS_WITHOUT_MODEL: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    # The schema of one event, as OpenAPI tools read it.
    "text/event-stream": {
        "type": "object",
        "required": ["data"],
        "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    },
}
"""Schemas of the response types that have no model. All other types are text."""


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.response_model is not None:
        name = operation.response_model.__name__
        content["application/json"] = {"schema": schema_ref(operation.response_model)}
        if name in api_examples.example_answers():
            content["application/json"]["examples"] = {"chess": {"$ref": f"#/components/examples/{name}"}}
    for media_type in operation.media_types:
        if not media_type.endswith("+json"):
            content[media_type] = {"schema": _SCHEMAS_WITHOUT_MODEL.get(media_type, {"type": "string"})}
    success: dict[str, Any] = {"description": HTTPStatus(operation.success_status).phrase}
    if content:
        success["content"] = content
    if operation.tag == "sessions" and operation.response_model is not None:
        success["headers"] = {
            "ETag": {"schema": {"type": "string"}, "description": 'Version of the session: `"<version>-<epoch>"`'}
        }
    responses: dict[str, Any] = {str(operation.success_status): success}
    if operation.can_be_unready:
        responses["503"] = {"description": "Not ready", "content": content}
        return responses
    refusals = set(operation.refusal_statuses)
    if operation.is_rate_limited:
        refusals |= {*COMMON_REFUSALS, 403, 429}
    if ACCESS_RULES[operation.verb].least != "public":
        refusals.add(401)
    if operation.body_model is not None:
        refusals |= {413, 415}
    for status in sorted(refusals):
        if status == 304:
            responses["304"] = {"description": "Not modified"}
        else:
            responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": PROBLEM_CONTENT}
    return responses
