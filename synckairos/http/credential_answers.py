"""Requests that add a stored credential or give it a new secret, and their answers, which have the secret once."""

from collections.abc import Mapping
from typing import Any

import orjson

from synckairos.frozen_replace import replace
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.identity.secret_text import SecretText
from synckairos.store.rate_limits import RateLimits
from synckairos.stored_credentials.records import NewCredential, StoredCredential
from synckairos.stored_credentials.table import CredentialTable

NO_STORE = (b"cache-control", b"no-store")
"""Header of answers with a secret."""


def request_id_of(request: RestRequest) -> str | None:
    """Return the command id of a request in the scope of its caller. None if the request has none.

    Raises: ValidationFailed if the header `Idempotency-Key` is invalid.
    """
    command_id = request.parse_command_id()
    return None if command_id is None else request.principal.qualify_request_id(command_id)


async def add_credential(
    request: RestRequest, table: CredentialTable, new: NewCredential, now_ms: int
) -> tuple[StoredCredential, SecretText | None]:
    """Add the credential of a request. Return it and its secret, or None in place of the secret for a replay.

    Call `read_body` before. Raises: ValidationFailed as `request_id_of`, and the errors of `CredentialTable.add`.
    """
    request_id = request_id_of(request)
    if request_id is not None:
        new = replace(new, request_id=request_id, request_fingerprint=request.fingerprint())
    added = await table.add(new, now_ms)
    request.act_target = added[0].credential_id
    return added


async def answer_with_secret(
    request: RestRequest, rate_limits: RateLimits, data: Mapping[str, Any], *, is_replay: bool, status: int = 201
) -> RestResponse:
    """Return the answer with `data`, which has no secret if `is_replay` is True."""
    response = RestResponse(orjson.dumps({"data": data}), status, headers=[NO_STORE])
    if is_replay:
        await rate_limits.recount_as_replay(request.meter)
        response.headers.append((b"idempotency-replayed", b"true"))
    return response
