"""Whether a message that a server sends is one that its description knows, with these members and no others."""

from functools import cache
from typing import Any

import jsonschema_rs
import orjson

from synckairos.http.asyncapi import render_asyncapi
from synckairos.wire.socket_message_models import V2_SERVER_MESSAGES, V3_SERVER_MESSAGES

Json = dict[str, Any]


@cache
def _validators() -> dict[tuple[str, str], jsonschema_rs.Validator]:
    document = orjson.loads(render_asyncapi())
    schemas: Json = document["components"]["schemas"]
    # Clients are to take members they don't know; ours are to be known.
    closed = {name: {"additionalProperties": False, **each} for name, each in schemas.items() if "properties" in each}
    components = {"schemas": schemas | closed}
    found: dict[tuple[str, str], jsonschema_rs.Validator] = {}
    for dialect, models in (("v3", V3_SERVER_MESSAGES), ("v2", V2_SERVER_MESSAGES)):
        for model in models:
            kind = schemas[model.__name__]["properties"]["type"]["const"]
            payload = document["components"]["messages"][f"{dialect}.{kind}"]["payload"]
            found[dialect, kind] = jsonschema_rs.Draft202012Validator({**payload, "components": components})
    return found


def kinds(dialect: str) -> set[str]:
    """Return the types of all messages that a dialect's server sends."""
    return {kind for each, kind in _validators() if each == dialect}


def check(message: Json) -> None:
    """Raise jsonschema_rs.ValidationError where a message isn't as described."""
    dialect = "v3" if "server_time_ms" in message else "v2"
    _validators()[dialect, message["type"]].validate(message)
