"""REST routes of signing keys: public keys of a tenant that verify tokens."""

import re
from typing import Any

import orjson

from synckairos.errors import AuthenticationOff, SigningKeyExists, ValidationFailed
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.identity.public_key_input import PublicKeyInput, parse_jwk_input, parse_pem_input
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.signing_keys.active_keys import ActiveSigningKeys
from synckairos.signing_keys.table import NewSigningKey, SigningKey, SigningKeyTable
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import signing_keys as wire
from synckairos.wire.instants import render_instant

COLLECTION_PATH = "/v1/signing-keys"
KEY_PATH = "/v1/signing-keys/{signing_key_id}"

_KEY_ID = re.compile(r"[!-~]{1,255}")


class SigningKeyRoutes:
    """REST operations on the signing keys of the caller's tenant. All operations require the role `admin`.

    `keys` and `verifier` are None while authentication is off. Then all operations answer 403.
    """

    def __init__(
        self,
        table: SigningKeyTable,
        keys: ActiveSigningKeys | None,
        verifier: TokenVerifier | None,
        rate_limits: RateLimits,
    ) -> None:
        self._table = table
        self._keys = keys
        self._verifier = verifier
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "credentials"
        return [
            Operation(
                "POST", COLLECTION_PATH, "manage_signing_keys", self.create,
                "Add a public key that verifies tokens of the tenant", tag,
                response_model=wire.SigningKeyAnswer, success_status=201, body_model=wire.CreateSigningKey,
                is_body_required=True, refusal_statuses=(403, 409, 422), is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, "manage_signing_keys", self.list, "List signing keys, newest first", tag,
                response_model=wire.SigningKeyPage, query_model=wire.SigningKeysQuery, refusal_statuses=(403,),
            ),
            Operation(
                "DELETE", KEY_PATH, "manage_signing_keys", self.delete,
                "Remove a signing key, and end its tokens and sockets", tag,
                success_status=204, refusal_statuses=(403, 409), is_administrative=True,
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/signing-keys`: add a public key."""
        body = await request.read_body(wire.CreateSigningKey)
        kid, public_key = _parse_key(body)
        await self._rate_limits.count(request.meter)
        keys, verifier = self._require_authentication()
        command_id = request.parse_command_id()
        principal = request.principal
        new = NewSigningKey(
            tenant=principal.tenant,
            kid=kid,
            algorithm=public_key.algorithm,
            pem=public_key.pem,
            issuer=body.issuer,
            created_by=principal.actor,
            request_id=None if command_id is None else principal.qualify_request_id(command_id),
            request_fingerprint=None if command_id is None else request.fingerprint(),
        )
        if verifier.has_key_id(kid):
            raise SigningKeyExists(kid)
        key, is_replay = await keys.add(new)
        request.act_target = key.signing_key_id
        response = RestResponse(orjson.dumps({"data": _key_json(key)}), 201)
        location = request.to_public_path(f"{COLLECTION_PATH}/{key.signing_key_id}")
        response.headers.append((b"location", location.encode()))
        if is_replay:
            await self._rate_limits.recount_as_replay(request.meter)
            response.headers.append((b"idempotency-replayed", b"true"))
        return response

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/signing-keys`: list the signing keys of the tenant, newest first."""
        query = request.read_query(wire.SigningKeysQuery)
        await self._rate_limits.count(request.meter)
        self._require_authentication()
        page = await self._table.read_page(request.principal.tenant, cursor=query.cursor, limit=query.limit)
        rows = [_key_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer `DELETE /v1/signing-keys/{signing_key_id}`: remove a signing key."""
        signing_key_id = request.path_uuid("signing_key_id")
        await self._rate_limits.count(request.meter)
        keys, _ = self._require_authentication()
        await keys.remove(request.principal, signing_key_id)
        return RestResponse(status=204)

    def _require_authentication(self) -> tuple[ActiveSigningKeys, TokenVerifier]:
        if self._keys is None or self._verifier is None:
            raise AuthenticationOff
        return self._keys, self._verifier


def _parse_key(body: wire.CreateSigningKey) -> tuple[str, PublicKeyInput]:
    """Return the key id and the public key of a body. Raises: ValidationFailed without a part of the key."""
    try:
        public_key = parse_pem_input(body.pem) if body.pem is not None else parse_jwk_input(body.jwk or {})
    except ValueError as fault:
        raise ValidationFailed.at_path("jwk" if body.pem is None else "pem", str(fault)) from None
    kid: Any = body.kid
    if body.jwk is not None and (kid_of_jwk := body.jwk.get("kid")) is not None:
        if not isinstance(kid_of_jwk, str) or not _KEY_ID.fullmatch(kid_of_jwk):
            raise ValidationFailed.at_path("jwk.kid", "should be 1 to 255 visible ASCII characters")
        if kid not in (None, kid_of_jwk):
            raise ValidationFailed.at_path("kid", "should be equal to the kid of the jwk, or absent")
        kid = kid_of_jwk
    if kid is None:
        raise ValidationFailed.at_path("kid", "is required, because the key has no kid")
    return kid, public_key


def _key_json(key: SigningKey) -> dict[str, Any]:
    return {
        "signing_key_id": key.signing_key_id,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "pem": key.pem,
        **({} if key.issuer is None else {"issuer": key.issuer}),
        "created_at": render_instant(key.created_at_ms),
        "created_by": key.created_by,
    }
