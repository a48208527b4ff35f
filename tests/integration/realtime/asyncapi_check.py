"""Check of a server's message against its AsyncAPI description: the message has only members that are described."""

from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from synckairos.http.asyncapi import render_asyncapi
from synckairos.wire.socket_message_models import V2_SERVER_MESSAGES, V3_SERVER_MESSAGES

Json = dict[str, Any]


@cache
def _validators() -> dict[tuple[str, str], jsonschema_rs.Validator]:
    """Return a validator for each message, by dialect and message type."""
    document = orjson.loads(render_asyncapi())
    schemas: Json = document["components"]["schemas"]
    # Clients must accept unknown members, so the schemas allow them. The server must send only known members.
    closed = {name: {"additionalProperties": False, **each} for name, each in schemas.items() if "properties" in each}
    components = {"schemas": schemas | closed}
    found: dict[tuple[str, str], jsonschema_rs.Validator] = {}
    for dialect, models in (("v3", V3_SERVER_MESSAGES), ("v2", V2_SERVER_MESSAGES)):
        for model in models:
            message_type = schemas[model.__name__]["properties"]["type"]["const"]
            payload = document["components"]["messages"][f"{dialect}.{message_type}"]["payload"]
            found[dialect, message_type] = jsonschema_rs.Draft202012Validator({**payload, "components": components})
    return found


def message_types(dialect: str) -> set[str]:
    """Return the types of all messages that the server sends in a dialect."""
    return {message_type for each, message_type in _validators() if each == dialect}


def check_message(message: Json) -> None:
    """Check a message. Raises: jsonschema_rs.ValidationError if the message does not match its description."""
    dialect = "v3" if "server_time_ms" in message else "v2"
    _validators()[dialect, message["type"]].validate(message)
