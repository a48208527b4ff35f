"""AsyncAPI 3.0 description of the sockets at `/ws`, generated from the models of all socket messages.

The description has one channel for each dialect, with the same address. A `receive` operation is a message that clients
send, with its replies. The `send` operation of a dialect lists the messages that the server sends without a request.
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
from synckairos.wire.close_code_docs import V2_CLOSE_CODES, V3_CLOSE_CODES
from synckairos.wire.command_bodies.table import COMMAND_BODIES

Json = dict[str, Any]

V3_REPLIES = {
    "SUBSCRIBE": ("STATE_SYNC", "STATE_DELTA", "STATE_UPDATE", "ERROR"),
    "UNSUBSCRIBE": ("ACK", "ERROR"),
    "COMMAND": ("ACK", "ERROR"),
    "PING": ("PONG", "ERROR"),
    "AUTH": ("AUTHENTICATED", "ERROR"),
    "REFRESH": ("AUTHENTICATED", "ERROR"),
}
V3_UNSOLICITED = (
    *("STATE_UPDATE", "STATE_DELTA", "EVENT", "PRESENCE", "GOAWAY", "AUTHENTICATED", "REAUTH", "UNSUBSCRIBED"),
)
V2_REPLIES = {"PING": ("PONG",), "RECONNECT": ("STATE_SYNC", "ERROR")}
V2_UNSOLICITED = ("CONNECTED", "STATE_SYNC", "STATE_UPDATE", "SESSION_DELETED", "ERROR")

V3_DESCRIPTION = (
    "Up to 32 sessions on one socket, deltas, and commands that can be repeated safely. Each text frame holds one JSON "
    "object of at most 64 KiB. The reply to a message with an `id` has the same value in `reply_to`. Send SUBSCRIBE "
    "first. Then send PING a few times to estimate the offset of the server's clock. The client needs this offset to "
    "calculate readings between two messages. Where WebSockets are blocked, `/v3/stream` and `/v3/frames` carry the "
    "same messages, see `/openapi.json`."
)
V2_DESCRIPTION = (
    "The dialect of v2 clients, without a subprotocol. The URL names the session of the socket, and each change is "
    "sent as the whole state. A client can also watch a session that does not exist yet."
)


@cache
def render_asyncapi(root_path: str = "") -> bytes:
    """Return the AsyncAPI description of both dialects as JSON. The result is cached for each `root_path`.

    `root_path` is the public sub-path, such as `/clock`, and empty if there is no sub-path.
    """
    v3_sent, v2_received, v2_sent = map(
        _by_type,
        (
            socket_message_models.V3_SERVER_MESSAGES,
            socket_message_models.V2_CLIENT_MESSAGES,
            socket_message_models.V2_SERVER_MESSAGES,
        ),
    )
    v3_all: dict[str, type[BaseModel]] = {**v3_messages.CLIENT_MESSAGES, **v3_sent}
    v2_all = v2_received | v2_sent
    schemas = schemas_for([*v3_all.values(), *v2_all.values(), *COMMAND_BODIES.values()])
    schemas["Command"] |= _arguments_by_command()
    return orjson.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "SyncKairos sockets",
                "version": __version__,
                "description": "Sockets that send timed sessions to clients as they change. Durations are whole "
                "milliseconds. Instants are ISO 8601 in UTC. `server_time_ms` and `timestamp` are Redis time in ms "
                "since the Unix epoch.",
            },
            "defaultContentType": "application/json",
            "servers": {
                "here": {
                    "host": "{host}",
                    **({"pathname": root_path} if root_path else {}),
                    "protocol": "ws",
                    "description": "The host that returned this description. Behind TLS the protocol is `wss`",
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
                    "title": "v2 dialect",
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
    """Return the message models by message type, which is the constant value of their field `type`."""
    return {model.model_json_schema()["properties"]["type"]["const"]: model for model in models}


def _arguments_by_command() -> Json:
    """Return the part of the COMMAND schema that defines `args` for each command by the model of its REST body."""
    return {
        "allOf": [
            {
                "if": {"properties": {"command": {"const": verb}}},
                "then": {"properties": {"args": schema_ref(model)}},
            }
            for verb, model in COMMAND_BODIES.items()
        ]
    }


def _messages(dialect: str, models: dict[str, type[BaseModel]], examples: Json) -> Json:
    return {
        f"{dialect}.{name}": {
            "name": name,
            "title": name,
            **({"summary": " ".join(model.__doc__.split())} if model.__doc__ else {}),
            "payload": schema_ref(model),
            "examples": [{"payload": examples[name]}],
        }
        for name, model in models.items()
    }


def _operations(dialect: str, replies: dict[str, tuple[str, ...]], unsolicited: Sequence[str]) -> Json:
    """Return the AsyncAPI operations of a dialect.

    Each client message has an operation with the message types of its replies. All unsolicited server messages have
    one operation together.
    """
    channel = {"$ref": f"#/channels/{dialect}"}

    def message_refs(*names: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/{dialect}/messages/{name}"} for name in names]

    requests: Json = {
        f"{dialect}.{name}": {
            "action": "receive",
            "channel": channel,
            "messages": message_refs(name),
            "reply": {"channel": channel, "messages": message_refs(*answers)},
        }
        for name, answers in replies.items()
    }
    return requests | {
        f"{dialect}.tell": {"action": "send", "channel": channel, "messages": message_refs(*unsolicited)}
    }


def _binding(headers: dict[str, str], query: Json) -> Json:
    binding: Json = {"method": "GET", "bindingVersion": "0.1.0"}
    if headers:
        properties = {name: {"type": "string", "const": value} for name, value in headers.items()}
        binding["headers"] = {"type": "object", "properties": properties, "required": list(headers)}
    if query:
        binding["query"] = {"type": "object", "properties": query, "required": list(query)}
    return binding
