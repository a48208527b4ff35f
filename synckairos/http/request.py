"""One request as the routes see it, and their response. Reads bodies within bounds; knows no route and no session."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from synckairos.errors import PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from synckairos.principal import Principal
from synckairos.service.requests import rest_fingerprint
from synckairos.store.rate_limits import RateLimits, RateMeter
from synckairos.wire.field_types import StrictModel, parse_uuid
from synckairos.wire.json_decode import decode_json
from synckairos.wire.query_parameters import parse_query
from synckairos.wire.request_bodies import parse_body
from synckairos.wire.validation_faults import Fault

MAX_BODY_BYTES = 1 << 20

LARGE_BODY_BYTES = 1 << 16
"""A body beyond this takes milliseconds to look at: the request is counted first."""

Model = TypeVar("Model", bound=StrictModel)

HeaderList = list[tuple[bytes, bytes]]


class ClientDisconnected(Exception):
    """The client left before its request was complete; there is nobody to answer."""


@dataclass(slots=True)
class RestResponse:
    """An answer: its body at once, or `stream` piece by piece."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    headers: HeaderList = field(default_factory=list)
    stream: AsyncGenerator[bytes, None] | None = None


class RestRequest:
    """A request on its way. Its `meter` counts it and holds its rate-limit status for the answer."""

    __slots__ = (
        *("_limits", "_receive"),
        *("body_json", "headers", "meter", "path_parameters", "principal", "route", "scope"),
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
        limits: RateLimits,
    ) -> None:
        """Take a request that was matched: its path as metrics name it, and the quotas that it counts against."""
        self.scope = scope
        self.headers = headers
        self.route = route
        self.path_parameters = path_parameters
        self.principal = principal
        self.meter = meter
        self._receive = receive
        self._limits = limits
        self.body_json: Any = None
        """The JSON values of the body, once `read_body` has read it."""

    # -- what it asks for ---------------------------------------------------------------------------------------------

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name, several of it joined by commas."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def path_uuid(self, name: str) -> str:
        """Return a UUID of the path. Raises ValidationFailed."""
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
        """Read and parse the body; nothing at all counts as an empty object.

        Raises: PayloadTooLarge, UnsupportedMediaType, ValidationFailed, ClientDisconnected; RateLimitExceeded and
        StoreUnavailable where it is large.
        """
        raw = await self._read()
        if raw:
            self._check_type(media_types or ("application/json",))
        if len(raw) <= LARGE_BODY_BYTES:
            return self._parse(raw, model)
        await self._limits.take(self.meter)
        parsed = self._parse(raw, model)
        # From here on it counts as all do, with what it asks for; a replay doesn't.
        await self._limits.give_back(self.meter)
        self.meter.reset()
        return parsed

    def _parse(self, raw: bytes, model: type[Model]) -> Model:
        faults = self._path_faults()
        try:
            self.body_json = decode_json(raw)
        except ValidationFailed as malformed:
            raise ValidationFailed([*faults, *malformed.details]) from None
        return parse_body(model, self.body_json, faults)

    async def _read(self) -> bytes:
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

    def _check_type(self, media_types: tuple[str, ...]) -> None:
        name, *parameters = (self.header(b"content-type") or "").lower().split(";")
        charsets = [p.strip() for p in parameters if p.strip().startswith("charset=")]
        fits = name.strip() in media_types and all(c.removeprefix("charset=").strip('"') == "utf-8" for c in charsets)
        if not fits or self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise UnsupportedMediaType(f"Send {' or '.join(media_types)} in UTF-8, not compressed")

    # -- idempotency ---------------------------------------------------------------------------------------------------

    def command_id(self) -> str | None:
        """Return the Idempotency-Key, None where there is none. Raises ValidationFailed."""
        key = self.headers.get(b"idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or any(not 0x21 <= byte <= 0x7E for byte in key):
            raise ValidationFailed.at("Idempotency-Key", "should be 1 to 255 visible ASCII characters")
        return key.decode()

    def fingerprint(self) -> str:
        """Digest method, path and parsed body: what one Idempotency-Key stands for."""
        path = self.scope["path"].lower().removesuffix("/")  # neither of which says anything
        return rest_fingerprint(self.scope["method"], path, self.body_json)
