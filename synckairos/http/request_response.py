"""Requests and responses as the route modules see them: headers, path parameters, query, and bounded JSON bodies."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from starlette.types import Receive, Scope

from synckairos.errors import PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from synckairos.http.sub_path import public_path
from synckairos.principal import Principal
from synckairos.service.requests import rest_fingerprint
from synckairos.store.rate_limits import RateLimits, RateMeter
from synckairos.wire.field_types import StrictModel, parse_uuid
from synckairos.wire.input_warnings import input_warnings
from synckairos.wire.json_decode import decode_json
from synckairos.wire.query_parameters import parse_query
from synckairos.wire.request_bodies import V2CommandBody, parse_body
from synckairos.wire.validation_faults import Fault, fault

MAX_BODY_BYTES = 1 << 20

LARGE_BODY_BYTES = 1 << 16
"""Bytes above which a body takes milliseconds to parse. Such a request is counted before it is parsed."""

Model = TypeVar("Model", bound=StrictModel)

HeaderList = list[tuple[bytes, bytes]]


class ClientDisconnected(Exception):
    """The client disconnected before it sent the whole request. No response is possible."""


@dataclass(slots=True)
class RestResponse:
    """A response with a complete `body`, or with a `stream` that yields the body in pieces."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    headers: HeaderList = field(default_factory=list)
    stream: AsyncGenerator[bytes, None] | None = None


def render_data(document: bytes, warnings: Sequence[Fault]) -> bytes:
    """Render the JSON of a successful answer: its data, and the warnings if there are any."""
    return b'{"data":%b,"warnings":%b}' % (document, orjson.dumps(warnings)) if warnings else b'{"data":%b}' % document


class RestRequest:
    """A routed request. Its `meter` counts it and holds the rate-limit status for the response."""

    __slots__ = (
        *("_rate_limits", "_receive"),
        *("body_json", "headers", "meter", "path_parameters", "principal", "route", "scope", "warnings"),
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, bytes],
        route: str,
        path_parameters: dict[str, str],
        principal: Principal,
        meter: RateMeter,
        rate_limits: RateLimits,
    ) -> None:
        """Create the request. `route` is the path as metrics write it; `meter` has the quotas of the request."""
        self.scope = scope
        self.headers = headers
        self.route = route
        self.path_parameters = path_parameters
        self.principal = principal
        self.meter = meter
        self._receive = receive
        self._rate_limits = rate_limits
        self.body_json: Any = None
        """The JSON values of the body, after `read_body`."""
        self.warnings: list[Fault] = []
        """The parts of the body that have no effect, after `read_body`."""

    # -- parameters and body ------------------------------------------------------------------------------------------

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name. Values of a repeated header are joined by commas."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def path_uuid(self, name: str) -> str:
        """Return a path parameter as a lower-case UUID. Raises ValidationFailed."""
        faults = self._path_faults()
        if faults:
            raise ValidationFailed(faults)
        return self.path_parameters[name].lower()

    def _path_faults(self) -> list[Fault]:
        faults = []
        for name, text in self.path_parameters.items():
            try:
                parse_uuid(text)
            except ValueError as error:
                faults.append({"path": name, "message": str(error)})
        return faults

    def read_query(self, model: type[Model]) -> Model:
        """Parse the query string. Raises ValidationFailed."""
        return parse_query(model, self.scope["query_string"], self._path_faults())

    async def read_body(self, model: type[Model], *media_types: str) -> Model:
        """Read and parse the JSON body. An empty body counts as an empty object.

        On the routes of v2's commands, JSON is accepted with every Content-Type, and a body of another type that is no
        JSON object is ignored, because v2 ignores it too. The check of Origin is what protects browsers there.

        Raises PayloadTooLarge, UnsupportedMediaType, ValidationFailed and ClientDisconnected. For a large body it also
        raises RateLimitExceeded and StoreUnavailable.
        """
        raw = await self._read_bytes()
        accepts_others = issubclass(model, V2CommandBody)
        is_declared = not raw or self._is_declared_as(media_types or ("application/json",), accepts_others)
        if len(raw) <= LARGE_BODY_BYTES:
            return self._parse(raw, model, is_declared)
        await self._rate_limits.count(self.meter)
        parsed = self._parse(raw, model, is_declared)
        # The handler counts the request again, with all its quotas; a replay is free. So this count is taken back.
        await self._rate_limits.refund(self.meter)
        self.meter.reset()
        return parsed

    def _parse(self, raw: bytes, model: type[Model], is_declared: bool) -> Model:
        """Parse a body. If it is not `is_declared` to be JSON, it is ignored unless it is a JSON object."""
        faults = self._path_faults()
        try:
            self.body_json = decode_json(raw)
        except ValidationFailed as malformed:
            if is_declared:
                raise ValidationFailed([*faults, *malformed.details]) from None
        if not is_declared and not isinstance(self.body_json, dict):
            self.body_json = {}
            self.warnings.append(fault((), "the body has no effect: it is no JSON object, and its type is not JSON"))
        body = parse_body(model, self.body_json, faults)
        self.warnings += input_warnings(body, self.body_json)
        return body

    async def _read_bytes(self) -> bytes:
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"A body has at most {MAX_BODY_BYTES} bytes")
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise PayloadTooLarge(f"A body has at most {MAX_BODY_BYTES} bytes")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _is_declared_as(self, media_types: tuple[str, ...], accepts_others: bool) -> bool:
        """Return whether the body has one of the media types. Raises UnsupportedMediaType if the body is refused."""
        name, *parameters = (self.header(b"content-type") or "").lower().split(";")
        charsets = [p.strip() for p in parameters if p.strip().startswith("charset=")]
        is_declared = name.strip() in media_types
        fits = all(each.removeprefix("charset=").strip('"') == "utf-8" for each in charsets) or not is_declared
        is_compressed = self.headers.get(b"content-encoding", b"identity").lower() != b"identity"
        if is_compressed or not fits or not (is_declared or accepts_others):
            raise UnsupportedMediaType(f"Send {' or '.join(media_types)} in UTF-8, not compressed")
        return is_declared

    def public_path(self, path: str) -> str:
        """Return a path of this server as clients see it."""
        return public_path(self.scope, path)

    # -- idempotency ---------------------------------------------------------------------------------------------------

    def command_id(self) -> str | None:
        """Return the Idempotency-Key, or None if the request has none. Raises ValidationFailed."""
        key = self.headers.get(b"idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or any(not 0x21 <= byte <= 0x7E for byte in key):
            raise ValidationFailed.at("Idempotency-Key", "should be 1 to 255 visible ASCII characters")
        return key.decode()

    def fingerprint(self) -> str:
        """Return the digest of method, path and parsed body. One Idempotency-Key is valid for one fingerprint."""
        path = self.scope["path"].lower().removesuffix("/")  # letter case and a last slash do not matter
        return rest_fingerprint(self.scope["method"], path, self.body_json)
