"""AsyncAPI 3.0 of `/ws`, made from the models that validate what clients send and describe what they get.

Two channels at one address: the dialects. `receive` is what the server takes, `send` what it sends by itself.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel

from synckairos import __version__
from synckairos.http import api_examples
from synckairos.http.json_schemas import schema_ref, schemas_for
from synckairos.wire import socket_message_models, v3_messages
from synckairos.wire.close_codes import V2_CLOSE_CODES, V3_CLOSE_CODES
from synckairos.wire.request_bodies import COMMAND_BODIES

Json = dict[str, Any]

V3_REPLIES = {
    "SUBSCRIBE": ("STATE_SYNC", "STATE_DELTA", "STATE_UPDATE", "ERROR"),
    "UNSUBSCRIBE": ("ACK", "ERROR"),
    "COMMAND": ("ACK", "ERROR"),
    "PING": ("PONG", "ERROR"),
}
V3_UNSOLICITED = ("STATE_UPDATE", "STATE_DELTA", "EVENT", "PRESENCE", "GOAWAY")
V2_REPLIES = {"PING": ("PONG",), "RECONNECT": ("STATE_SYNC", "ERROR")}
V2_UNSOLICITED = ("CONNECTED", "STATE_SYNC", "STATE_UPDATE", "SESSION_DELETED", "ERROR")

V3_DESCRIPTION = (
    "Up to 32 sessions a socket, deltas, commands that happen once. One JSON object a text frame of at most 64 KiB; a "
    "message sent with an `id` is answered with that `reply_to`. SUBSCRIBE first, then PING a few times to learn how "
    "far the server's clock is ahead: between two messages clients calculate."
)
V2_DESCRIPTION = (
    "The dialect of v2 clients: no subprotocol, the one session is named in the URL, and every change comes as the "
    "whole state. A session that doesn't exist yet may be watched, too."
)


@cache
def render_asyncapi() -> bytes:
    """Render the description of both dialects; once, for nothing of it changes as long as a process lives."""
    v3_sent, v2_asked, v2_sent = map(
        _by_type,
        (
            socket_message_models.V3_SERVER_MESSAGES,
            socket_message_models.V2_CLIENT_MESSAGES,
            socket_message_models.V2_SERVER_MESSAGES,
        ),
    )
    v3_all: dict[str, type[BaseModel]] = {**v3_messages.CLIENT_MESSAGES, **v3_sent}
    v2_all = v2_asked | v2_sent
    schemas = schemas_for([*v3_all.values(), *v2_all.values(), *COMMAND_BODIES.values()])
    schemas["Command"] |= _arguments()
    return orjson.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "SyncKairos sockets",
                "version": __version__,
                "description": "Timed, shared sessions as they change. Durations are whole milliseconds, instants ISO "
                "8601 in UTC, `…_time_ms` and `timestamp` Redis time in ms since the Unix epoch.",
            },
            "defaultContentType": "application/json",
            "servers": {
                "here": {
                    "host": "{host}",
                    "protocol": "ws",
                    "description": "Where this description comes from; `wss` behind TLS",
                    "variables": {"host": {"default": "127.0.0.1:3000"}},
                }
            },
            "channels": {
                "v3": {
                    "address": "/ws",
                    "title": v3_messages.SUBPROTOCOL,
                    "description": V3_DESCRIPTION,
                    "messages": {name: {"$ref": f"#/components/messages/v3.{name}"} for name in v3_all},
                    "bindings": {"ws": _binding({"Sec-WebSocket-Protocol": v3_messages.SUBPROTOCOL}, {})},
                    "x-close-codes": {str(code): meaning for code, meaning in V3_CLOSE_CODES.items()},
                },
                "v2": {
                    "address": "/ws",
                    "title": "the v2 dialect",
                    "description": V2_DESCRIPTION,
                    "messages": {name: {"$ref": f"#/components/messages/v2.{name}"} for name in v2_all},
                    "bindings": {"ws": _binding({}, {"sessionId": {"type": "string", "format": "uuid"}})},
                    "x-close-codes": {str(code): meaning for code, meaning in V2_CLOSE_CODES.items()},
                },
            },
            "operations": {
                **_operations("v3", V3_REPLIES, V3_UNSOLICITED),
                **_operations("v2", V2_REPLIES, V2_UNSOLICITED),
            },
            "components": {
                "schemas": schemas,
                "messages": {
                    **_messages("v3", v3_all, api_examples.v3_message_examples()),
                    **_messages("v2", v2_all, api_examples.v2_message_examples()),
                },
            },
        },
        option=orjson.OPT_INDENT_2,
    )


def _by_type(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Return models by the one value of their `type`."""
    return {model.model_json_schema()["properties"]["type"]["const"]: model for model in models}


def _arguments() -> Json:
    """Return what says which arguments which command takes: those of REST's bodies."""
    return {
        "allOf": [
            {
                "if": {"properties": {"command": {"const": verb}}},
                "then": {"properties": {"args": schema_ref(model)}},
            }
            for verb, model in COMMAND_BODIES.items()
        ]
    }


def _messages(dialect: str, models: dict[str, type[BaseModel]], shown: Json) -> Json:
    return {
        f"{dialect}.{name}": {
            "name": name,
            "title": name,
            **({"summary": model.__doc__.strip()} if model.__doc__ else {}),
            "payload": schema_ref(model),
            "examples": [{"payload": shown[name]}],
        }
        for name, model in models.items()
    }


def _operations(dialect: str, replies: dict[str, tuple[str, ...]], unsolicited: Sequence[str]) -> Json:
    """Return an operation for each message that clients send, with its answers, and one for all that come unasked."""
    channel = {"$ref": f"#/channels/{dialect}"}

    def named(*names: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{dialect}/messages/{name}"} for name in names]

    asked: Json = {
        f"{dialect}.{name}": {
            "action": "receive",
            "channel": channel,
            "messages": named(name),
            "reply": {"channel": channel, "messages": named(*answers)},
        }
        for name, answers in replies.items()
    }
    return asked | {f"{dialect}.tell": {"action": "send", "channel": channel, "messages": named(*unsolicited)}}


def _binding(headers: dict[str, str], query: Json) -> Json:
    binding: Json = {"method": "GET", "bindingVersion": "0.1.0"}
    if headers:
        properties = {name: {"type": "string", "const": value} for name, value in headers.items()}
        binding["headers"] = {"type": "object", "properties": properties, "required": list(headers)}
    if query:
        binding["query"] = {"type": "object", "properties": query, "required": list(query)}
    return binding
