"""Credentials of a request: the token in its headers, or in a subprotocol of the WebSocket handshake."""

from collections.abc import MutableMapping
from typing import Any

from synckairos.errors import Unauthorized

Scope = MutableMapping[str, Any]

SUBPROTOCOL_PREFIX = "synckairos.bearer."
"""Prefix of a subprotocol that contains a token. Browsers cannot send an Authorization header with a WebSocket."""


def find_token(scope: Scope, *, in_subprotocols: bool) -> str | None:
    """Return the token of an HTTP request or a WebSocket handshake. Return None if it has no credential.

    If `in_subprotocols` is True, the offered subprotocols of the handshake are also searched.

    Raises: Unauthorized if the credential is not a bearer token, or if there are two different credentials.
    """
    found = {_bearer_token(value) for name, value in scope["headers"] if name == b"authorization"}
    if in_subprotocols:
        offered: list[str] = scope.get("subprotocols", [])
        found.update(each[len(SUBPROTOCOL_PREFIX) :] for each in offered if each.startswith(SUBPROTOCOL_PREFIX))
    if len(found) > 1:
        raise Unauthorized("The request has two different credentials")
    return next(iter(found), None)


def _bearer_token(header: bytes) -> str:
    scheme, _, token = header.decode("latin-1").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise Unauthorized("The header Authorization is not `Bearer <token>`")
    return token
