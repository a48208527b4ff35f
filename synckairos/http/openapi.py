"""OpenAPI 3.1, made from the very table that routes and the very models that validate."""

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
from synckairos.wire import response_models
from synckairos.wire.field_docs import FIELD_DESCRIPTIONS
from synckairos.wire.request_bodies import COMMAND_BODIES

COMMON_REFUSALS = (400, 500, 503)
"""Refusals that any operation on the stores may give; limited ones give 429 besides."""

PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

TAG_DESCRIPTIONS = [
    {"name": "sessions", "description": "One session: make it, read it, drive it."},
    {"name": "history", "description": "What was: lists, events, and a participant's sessions and hours."},
    {"name": "webhooks", "description": "Who is told of what happens, by signed HTTP requests."},
    {"name": "simulation", "description": "The same engine, nothing stored."},
    {"name": "system", "description": "The server itself."},
]


def render_openapi(operations: Sequence[Operation]) -> bytes:
    """Render the description of all operations that have a summary."""
    shown = [operation for operation in operations if operation.summary]
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "SyncKairos",
                "version": __version__,
                "description": "Timed, shared sessions. Durations are whole milliseconds, instants ISO 8601 in UTC.",
            },
            "servers": [{"url": "/"}],
            "tags": TAG_DESCRIPTIONS,
            "paths": _paths(shown),
            "components": {
                "schemas": _schemas(shown),
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
        models |= dict.fromkeys(m for m in (operation.body, operation.answer) if m is not None)
    return _cached_schemas(tuple(models))


# Models stay what they are as long as a process lives, and their schemas take longer than all else of a start.
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
    if operation.body is not None:
        shown = {"schema": schema_ref(operation.body)}
        if (example := api_examples.REQUEST_BODIES.get(operation.body.__name__)) is not None:
            shown["example"] = example
        types = ("application/json", *(t for t in operation.media_types if t.endswith("+json")))
        described["requestBody"] = {
            "required": operation.body_required,
            "content": dict.fromkeys(types, shown),
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
        | ({"description": FIELD_DESCRIPTIONS[name]} if name in FIELD_DESCRIPTIONS else {})
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if operation.query is not None:
        parameters += _query_parameters(operation.query)
    if operation.tag == "sessions" and operation.method != "GET" and 412 in operation.refusals:
        parameters.append(_header("If-Match", "Only if this is still the version: an ETag"))
    if operation.tag == "sessions" and 304 in operation.refusals:
        parameters.append(_header("If-None-Match", "Nothing comes back where this is still the version: an ETag"))
    if operation.method == "POST" and operation.tag in ("sessions", "webhooks"):
        key = _header("Idempotency-Key", "Makes asking again safe: the same key gets the same answer")
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


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer is not None:
        name = operation.answer.__name__
        content["application/json"] = {"schema": schema_ref(operation.answer)}
        if name in api_examples.example_answers():
            content["application/json"]["examples"] = {"chess": {"$ref": f"#/components/examples/{name}"}}
    for media_type in operation.media_types:
        if not media_type.endswith("+json"):
            schema = {"type": "object"} if media_type == "application/json" else {"type": "string"}
            content[media_type] = {"schema": schema}
    fine: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if content:
        fine["content"] = content
    if operation.tag == "sessions" and operation.answer is not None:
        fine["headers"] = {"ETag": {"schema": {"type": "string"}, "description": 'The version: `"<version>-<epoch>"`'}}
    responses: dict[str, Any] = {str(operation.status): fine}
    if operation.more.get("not_ready"):
        responses["503"] = {"description": "Not ready", "content": content}
        return responses
    refusals = set(operation.refusals)
    if operation.limited:
        refusals |= {*COMMON_REFUSALS, 403, 429}
    if operation.body is not None:
        refusals |= {413, 415}
    for status in sorted(refusals):
        if status == 304:
            responses["304"] = {"description": "Not modified"}
        else:
            responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": PROBLEM_CONTENT}
    return responses
