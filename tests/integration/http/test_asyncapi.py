"""AsyncAPI description of the sockets: it is valid, and its examples are valid.

The test contains only the part of the AsyncAPI 3.0 schema that the description uses.
"""

import re
from typing import Any

import jsonschema_rs
import pytest

from synckairos.http import api_examples
from synckairos.wire import body_parser, v3_messages
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.webhooks import CreateWebhook, PatchWebhook, RotateSecret
from tests.integration.rest_server import RestServer

Json = dict[str, Any]


def object_schema(required: Json, optional: Json | None = None) -> Json:
    """Return the schema of an object with these members and with extensions (`x-…`), but without other members."""
    properties = required | (optional or {})
    extensions: Json = {"^x-[a-z-]+$": {}}
    return {
        "type": "object", "required": list(required), "properties": properties,
        "patternProperties": extensions, "additionalProperties": False,
    }  # fmt: skip


def map_schema(value: Json) -> Json:
    names = {"pattern": r"^[\w.-]+$"}
    return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": value}


TEXT = {"type": "string", "minLength": 1}
REF = object_schema({"$ref": {"type": "string", "pattern": "^#/"}})
REFS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": REF}
SCHEMA = {"type": "object"}
BINDING = object_schema({"method": {"const": "GET"}, "bindingVersion": TEXT}, {"headers": SCHEMA, "query": SCHEMA})
MESSAGE = object_schema(
    {"name": TEXT, "payload": REF, "examples": {"type": "array", "items": object_schema({"payload": SCHEMA})}},
    {"title": TEXT, "summary": TEXT | {"pattern": r"^[^\n]+$"}},
)
OPERATION = object_schema(
    {"action": {"enum": ["send", "receive"]}, "channel": REF, "messages": REFS},
    {"reply": object_schema({"channel": REF, "messages": REFS})},
)
ASYNCAPI = object_schema(
    {
        "asyncapi": {"const": "3.0.0"},
        "info": object_schema({"title": TEXT, "version": TEXT}, {"description": TEXT}),
        "servers": map_schema(object_schema({"host": TEXT, "protocol": {"enum": ["ws", "wss"]}},
                                   {"description": TEXT, "variables": map_schema(object_schema({"default": TEXT}))})),
        "channels": map_schema(object_schema({"address": TEXT, "messages": map_schema(REF)},
                                    {"title": TEXT, "description": TEXT, "bindings": object_schema({"ws": BINDING})})),
        "operations": map_schema(OPERATION),
        "components": object_schema({"schemas": map_schema(SCHEMA), "messages": map_schema(MESSAGE)}),
    },
    {"defaultContentType": TEXT},
)  # fmt: skip
"""The part of https://github.com/asyncapi/spec-json-schemas that the description uses."""


@pytest.fixture
async def document(server: RestServer) -> Json:
    answer = await server.client.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Json = answer.json()
    return found


def resolve(document: Json, pointer: str) -> Json:
    found = document
    for name in pointer.removeprefix("#/").split("/"):
        found = found[name]
    return found


def refs_in(value: Any) -> list[str]:
    match value:
        case {"$ref": str(pointer)}:
            return [pointer]
        case dict():
            return [found for each in value.values() for found in refs_in(each)]
        case list():
            return [found for each in value for found in refs_in(each)]
        case _:
            return []


async def test_description_is_valid_and_its_references_exist(document: Json) -> None:
    jsonschema_rs.Draft202012Validator(ASYNCAPI).validate(document)
    for pointer in refs_in(document):
        assert resolve(document, pointer)
    for channel in document["channels"].values():
        assert channel["x-close-codes"]
    for operation in document["operations"].values():
        answers = operation.get("reply", {"messages": []})["messages"]
        for message in operation["messages"] + answers:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate({"$schema": "http://json-schema.org/draft-07/schema#", **schema})
        assert r"\z" not in str(schema), name
    assert schemas["Subscribe"]["additionalProperties"] is False
    assert schemas["Pong"]["properties"]["error_ms"]["anyOf"] == [{"type": "number"}, {"type": "null"}]


async def test_each_message_belongs_to_an_operation(document: Json) -> None:
    in_operations = {
        f"{operation['channel']['$ref']}/messages/{message}"
        for operation in document["operations"].values()
        for part in (operation, operation.get("reply", {"messages": []}))
        for message in (each["$ref"].rpartition("/")[2] for each in part["messages"])
    }
    assert in_operations == {
        f"#/channels/{dialect}/messages/{name}"
        for dialect, channel in document["channels"].items()
        for name in channel["messages"]
    }


async def test_examples_of_messages_are_valid(document: Json) -> None:
    for name, message in document["components"]["messages"].items():
        schema = {**message["payload"], "components": document["components"]}
        for example in message["examples"]:
            assert example["payload"]["type"] == name.partition(".")[2] == message["name"]
            jsonschema_rs.Draft202012Validator(schema).validate(example["payload"])
    for name in v3_messages.CLIENT_MESSAGES:
        v3_messages.parse_v3_message(re.sub("'", '"', str(api_examples.v3_message_examples()[name])))


BODIES = [CreateSession, SimulationBody, CreateWebhook, PatchWebhook, RotateSecret, *COMMAND_BODIES.values()]


@pytest.mark.parametrize("model", BODIES)
def test_examples_of_bodies_are_accepted(model: type[CommandBody]) -> None:
    if model.__name__ in api_examples.REQUEST_BODIES:
        body_parser.parse_body(model, api_examples.REQUEST_BODIES[model.__name__])
    else:
        assert model.__name__ in ("LeaveBody", "DeleteBody")


async def test_command_with_arguments_of_another_command_is_invalid(document: Json) -> None:
    command = api_examples.v3_message_examples()["COMMAND"]
    schema = {"$ref": "#/components/schemas/Command", "components": document["components"]}
    validator = jsonschema_rs.Draft7Validator(schema)
    assert validator.is_valid(command)
    assert not validator.is_valid(command | {"args": {"lag_ms": "much"}})
    assert not validator.is_valid(command | {"command": "adjust", "args": {"delta_ms": 1, "surprise": 1}})
    assert not validator.is_valid(command | {"command": "nope"})
