"""Request and response classes of the REST routes: headers, path parameters, query string, and bounded JSON bodies."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from starlette.types import Receive, Scope

from synckairos.errors import PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from synckairos.http.path_forms import find_path_fault
from synckairos.http.streaming_response import ByteStream
from synckairos.http.sub_path import to_public_path
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.running_request import idle_wait
from synckairos.limits.work_limits import BYTES, FREE_BYTES, VALUES
from synckairos.principal import Principal
from synckairos.service.requests import rest_fingerprint
from synckairos.session_names import session_name
from synckairos.store.rate_limits import RateLimits
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import PRESSES
from synckairos.wire.body_parser import parse_body
from synckairos.wire.command_bodies.shared_members import V2CommandBody
from synckairos.wire.field_types import StrictModel
from synckairos.wire.input_warnings import request_warnings
from synckairos.wire.json_decode import decode_json, value_count_upper_bound
from synckairos.wire.query_parameters import parse_query
from synckairos.wire.validation_faults import Fault, fault

MAX_BODY_BYTES = 1 << 20
"""Maximum bytes of a request body."""

LARGE_BODY_BYTES = 1 << 13
"""Maximum bytes of a body that is parsed before its request counts against the rate limits.

A larger body takes milliseconds to parse, so its request is counted first. Presses are never counted first.
"""

INVALID_BODY_FACTOR = 4
"""Number of times that the values of an invalid body above `LARGE_BODY_BYTES` are charged.

A client that sends such bodies without an end would take the whole time of the budget for nothing.
"""

Model = TypeVar("Model", bound=StrictModel)

HeaderList = list[tuple[bytes, bytes]]


class ClientDisconnected(Exception):
    """The client disconnected before it sent the whole request, so that no response is possible."""


@dataclass(slots=True)
class RestResponse:
    """A response. Its body is `body` if `stream` is None. Otherwise its body is the pieces of `stream`.

    `ends_with_credential` is whether the server ends the stream when the caller's credential ends. It is False for a
    stream that ends by itself then.
    """

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    headers: HeaderList = field(default_factory=list)
    stream: ByteStream | None = None
    ends_with_credential: bool = True


def render_data_envelope(document: bytes, warnings: Sequence[Fault], stopped: Sequence[Any] | None = None) -> bytes:
    """Return the JSON of a successful answer with the members `data`, `stopped` and `warnings`.

    `document` is the JSON of `data`. If `stopped` is None, the member `stopped` is omitted. If there are no warnings,
    the member `warnings` is omitted.
    """
    more = b"" if stopped is None else b',"stopped":%b' % orjson.dumps(stopped)
    if warnings:
        more += b',"warnings":%b' % orjson.dumps(warnings)
    return b'{"data":%b%b}' % (document, more)


class RestRequest:
    """A request to a route. `meter` has the quotas of the request, and after the count its rate-limit status."""

    __slots__ = (
        *("_has_valid_path", "_rate_limits", "_receive", "_work"),
        *("body_json", "headers", "is_administrative", "is_monitor", "is_press", "meter", "path_parameters"),
        *("act_target", "member_changes"),
        *("principal", "route", "scope", "warnings"),
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
        work: ClientWorkLimits,
    ) -> None:
        """Create a request.

        - `headers`: the request's headers by lower-case name.
        - `route`: the path in the form of metric labels, such as `/v1/sessions/:id`.
        - `path_parameters`: the values of the path's parameters by name.
        - `meter`: the quotas that the request counts against.
        """
        self.scope = scope
        self.headers = headers
        self.route = route
        self.path_parameters = path_parameters
        self.principal = principal
        self.member_changes = principal.member_changes
        """The changes of the caller's member rows before the check of its rights, see `CredentialEnds.watch_stream`."""
        self.meter = meter
        self._receive = receive
        self._rate_limits = rate_limits
        self._work = work
        self._has_valid_path = False
        self.body_json: Any = None
        """The parsed JSON body. None before `read_body`."""
        self.is_administrative = False
        """Whether the request is recorded in the access log if it is executed."""
        self.act_target = " ".join(path_parameters.values())
        """The ids of the objects that the request concerns, for the access log.

        They are the ids in the path. A handler that creates an object sets the id of the new object.
        """
        self.is_press = route.rpartition("/")[2] in PRESSES
        """Whether the request's route is that of a press: `switch`, `pause` or `resume`."""
        self.is_monitor = False
        """Whether the request has the metrics token. The token has an effect on `/metrics` and `/ready` only."""
        self.warnings: list[Fault] = []
        """A warning for each part of the body that has no effect. Empty before `read_body`."""

    def name_of(self, id_: str) -> str:
        """Return the name of the session or participant `id_` in the tenant of the caller."""
        return session_name(self.principal.tenant, id_)

    # -- parameters and body ------------------------------------------------------------------------------------------

    def header(self, name: bytes) -> str | None:
        """Return the value of a header by its lower-case name; None if the request does not have the header.

        The values of a repeated header are joined by commas.
        """
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def path_uuid(self, name: str) -> str:
        """Return the path parameter `name` as a lower-case UUID.

        Raises: ValidationFailed with all path parameters of the request that are not UUIDs, if there are any.
        """
        faults = self._path_faults()
        if faults:
            raise ValidationFailed(faults)
        return self.path_parameters[name].lower()

    def path_text(self, name: str) -> str:
        """Return the path parameter `name`, which has a form of `PATH_FORMS`.

        Raises: ValidationFailed with all path parameters of the request that have another form, if there are any.
        """
        if faults := self._path_faults():
            raise ValidationFailed(faults)
        return self.path_parameters[name]

    def _path_faults(self) -> list[Fault]:
        if self._has_valid_path:
            return []
        faults = []
        for name, text in self.path_parameters.items():
            fault = find_path_fault(name, text)
            if fault is not None:
                faults.append({"path": name, "message": fault})
        self._has_valid_path = not faults
        return faults

    def read_query(self, model: type[Model]) -> Model:
        """Return the query string as an instance of `model`.

        Raises: ValidationFailed if the query string is invalid, or if a path parameter has another form.
        """
        return parse_query(model, self.scope["query_string"], self._path_faults())

    @property
    def has_large_body(self) -> bool:
        """Return whether the body has possibly more than `LARGE_BODY_BYTES` bytes."""
        length = self.headers.get(b"content-length")
        if length is None:
            return b"transfer-encoding" in self.headers
        return not length.isdigit() or int(length) > LARGE_BODY_BYTES

    async def read_body(
        self,
        model: type[Model],
        *media_types: str,
        prepare: Callable[[Any], Any] = lambda value: value,
        max_bytes: int = MAX_BODY_BYTES,
        wait_for_turn: Callable[[], Awaitable[None]] | None = None,
    ) -> Model:
        """Read the JSON body and return it as an instance of `model`. An empty body is read as an empty object.

        `prepare` gets the JSON values of the body, and returns the values to read. It can raise ValidationFailed. The
        fingerprint is that of the values before `prepare`.

        `max_bytes` is the maximum size of the body. `wait_for_turn` is awaited when the body has arrived, before it is
        parsed.

        `media_types` are the accepted values of `Content-Type`; the default is `application/json`. Routes of v2
        commands accept JSON with every `Content-Type`. If the type is not JSON and the body is not a JSON object, these
        routes ignore the body, as v2 does. On these routes the check of `Origin` protects users of browsers.

        After this method returns, the request is not counted against its rate limits: the handler must count it. A body
        above `LARGE_BODY_BYTES` is counted before it is parsed, unless the request is a press. The count is undone
        after the parsing, unless the body is refused. Presses are not counted, because a legal press must never meet
        the general limit. The budgets of bytes and of JSON values bound their bodies.

        Raises:
            PayloadTooLarge, UnsupportedMediaType: The body was not parsed.
            ValidationFailed: The body is invalid, or a path parameter is not a UUID.
            ClientDisconnected: The client disconnected before it sent the whole body.
            RateLimitExceeded: The body was not parsed, because a budget or a rate limit is used up. A body above
                `FREE_BYTES` needs the client's budgets of bytes and of JSON values. A body above `LARGE_BODY_BYTES`
                also needs the rate limits, unless the request is a press.
            StoreUnavailable: Redis did not answer when a body above `LARGE_BODY_BYTES` was counted, or its count
                undone.
        """
        raw = await self._read_bytes(max_bytes)
        values = self._charge(raw) if len(raw) > FREE_BYTES else 0
        accepts_others = issubclass(model, V2CommandBody)
        is_declared = not raw or self._is_declared_as(media_types or ("application/json",), accepts_others)
        if len(raw) <= LARGE_BODY_BYTES:
            if wait_for_turn is not None:
                await wait_for_turn()
            return self._parse(raw, model, is_declared, prepare)
        if not self.is_press:
            await self._rate_limits.count(self.meter)
        if wait_for_turn is not None:
            await wait_for_turn()
        client = self.principal.limited_client_id
        try:
            parsed = await self._work.parse_queue.run(
                client, values, lambda: self._parse(raw, model, is_declared, prepare)
            )
        except ValidationFailed:
            self._work.charge_at_most(client, VALUES, INVALID_BODY_FACTOR * values - values)
            raise
        if not self.is_press:
            # Undo the count. The handler counts the request with all its quotas, or does not count a replay.
            await self._rate_limits.uncount(self.meter)
        return parsed

    def _charge(self, raw: bytes) -> int:
        """Charge the bytes and JSON values of a body above `FREE_BYTES` to its client.

        Return an upper bound of the number of JSON values.

        Raises: RateLimitExceeded if the client's budget of bytes or of JSON values is used up.
        """
        values = value_count_upper_bound(raw)
        self._work.charge(self.principal.limited_client_id, BYTES, len(raw))
        self._work.charge(self.principal.limited_client_id, VALUES, values)
        return values

    def _parse(self, raw: bytes, model: type[Model], is_declared: bool, prepare: Callable[[Any], Any]) -> Model:
        """Parse a body and return it as an instance of `model`. Fill `body_json` and `warnings`.

        `is_declared`: whether `Content-Type` has an accepted media type. If it is False, a body that is not a JSON
        object is read as an empty object, with a warning.

        Raises: ValidationFailed if the body is invalid, or if a path parameter is not a UUID.
        """
        faults = self._path_faults()
        try:
            self.body_json = decode_json(raw)
        except ValidationFailed as malformed:
            if is_declared:
                raise ValidationFailed([*faults, *malformed.details]) from None
        if not is_declared and not isinstance(self.body_json, dict):
            self.body_json = {}
            self.warnings.append(fault((), "the body has no effect: it is no JSON object, and its type is not JSON"))
        value = prepare(self.body_json)
        body = parse_body(model, value, faults)
        self.warnings += request_warnings(body, value)
        return body

    async def _read_bytes(self, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > max_bytes:
            raise PayloadTooLarge(f"A request body can have at most {max_bytes} bytes")
        chunks: list[bytes] = []
        size = 0
        while True:
            with idle_wait():
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > max_bytes:
                raise PayloadTooLarge(f"A request body can have at most {max_bytes} bytes")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _is_declared_as(self, media_types: tuple[str, ...], accepts_others: bool) -> bool:
        """Return whether the request's `Content-Type` is one of `media_types`.

        `accepts_others`: whether to return False for another media type instead of raising an exception.

        Raises: UnsupportedMediaType if the media type is refused, the body is compressed, or its charset is not UTF-8.
        """
        name, *parameters = (self.header(b"content-type") or "").lower().split(";")
        charsets = [p.strip() for p in parameters if p.strip().startswith("charset=")]
        is_declared = name.strip() in media_types
        fits = all(each.removeprefix("charset=").strip('"') == "utf-8" for each in charsets) or not is_declared
        is_compressed = self.headers.get(b"content-encoding", b"identity").lower() != b"identity"
        if is_compressed or not fits or not (is_declared or accepts_others):
            raise UnsupportedMediaType(f"Send {' or '.join(media_types)} in UTF-8, not compressed")
        return is_declared

    def to_public_path(self, path: str) -> str:
        """Return `path`, a path of this server without the public sub-path, with the public sub-path in front."""
        return to_public_path(self.scope, path)

    # -- idempotency ---------------------------------------------------------------------------------------------------

    def parse_command_id(self) -> str | None:
        """Return the header `Idempotency-Key`; None if the request does not have it.

        Raises: ValidationFailed if the header is empty, too long, or has other than visible ASCII characters.
        """
        key = self.headers.get(b"idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 255 or any(not 0x21 <= byte <= 0x7E for byte in key):
            raise ValidationFailed.at_path("Idempotency-Key", "should be 1 to 255 visible ASCII characters")
        return key.decode()

    def fingerprint(self) -> str:
        """Return the digest of the request's method, path and parsed body.

        Call `read_body` before this method if the route reads a body. Two requests with the same `Idempotency-Key` are
        a command and its replay only if their fingerprints are equal.
        """
        path = self.scope["path"].lower().removesuffix("/")  # ignores letter case and a slash at the end
        return rest_fingerprint(self.scope["method"], path, self.body_json)
