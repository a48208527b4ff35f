"""REST routes of the fallback transport: a stream of Server-Sent Events to the client, and requests with its frames.

A request with frames can reach any instance. Redis carries the frames to the instance of the stream.
"""

from typing import Protocol

from starlette.types import Scope

from synckairos.errors import NotFound
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.http.streaming_response import EVENT_STREAM, ByteStream
from synckairos.identity.authenticator import Authenticator
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import FRAME_BATCHES
from synckairos.principal import Principal
from synckairos.wire.event_streams import FrameBatch, OpenStreamQuery, SendFrames


class EventStreams(Protocol):
    """The event streams of this instance."""

    async def open_stream(self, scope: Scope, sender: Principal, /) -> ByteStream:
        """Open a stream for a request, and return the body of its response. The caller must call `aclose`.

        `sender` is the principal of the request's token, without rights if the request has no token. Only requests of
        the same identity can send frames to the stream.
        """


class FrameChannels(Protocol):
    """The channels that carry frames to the instances of the streams."""

    async def publish(self, stream_id: str, sender: Principal, batch: FrameBatch, /) -> bool:
        """Send a batch to the instance of a stream. Return whether an instance has this stream."""


class EventStreamRoutes:
    """The REST operations of the fallback transport."""

    def __init__(
        self,
        streams: EventStreams | None,
        channels: FrameChannels | None,
        authenticator: Authenticator | None,
        work: ClientWorkLimits,
    ) -> None:
        """Create the routes.

        `streams` and `channels` are None if this server has no fallback transport. `authenticator` is None while
        authentication is off.
        """
        self._streams = streams
        self._channels = channels
        self._authenticator = authenticator
        self._work = work

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "event streams"
        return [
            Operation(
                "GET", "/v3/stream", "open_stream", self.open_stream,
                "Open a stream of v3 messages, where WebSockets are blocked", tag,
                query_model=OpenStreamQuery, media_types=("text/event-stream",),
                refusal_statuses=(400, 401, 403, 429, 503), is_rate_limited=False,
            ),
            Operation(
                "POST", "/v3/frames", "send_frames", self.send_frames, "Send v3 messages to the own stream", tag,
                success_status=204, body_model=SendFrames, is_body_required=True,
                refusal_statuses=(400, 401, 403, 404, 429, 503), is_rate_limited=False,
            ),
        ]  # fmt: skip

    async def open_stream(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v3/stream`: the stream of a new connection. HEAD opens no connection."""
        request.read_query(OpenStreamQuery)
        await self._authenticate(request)
        headers = [(b"cache-control", b"no-store, no-transform")]
        if self._streams is None:
            raise NotFound("This server has no event streams")
        if request.scope["method"] == "HEAD":
            return RestResponse(content_type=EVENT_STREAM, headers=headers)
        stream = await self._streams.open_stream(request.scope, request.principal)
        return RestResponse(content_type=EVENT_STREAM, headers=headers, stream=stream, ends_with_credential=False)

    async def send_frames(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v3/frames`: send frames to the instance of the stream.

        The stream confirms the batch by its event `received`. The answer of this request only states that Redis has
        passed the batch on.
        """
        await self._authenticate(request)
        self._work.charge(request.principal.limited_client_id, FRAME_BATCHES)
        body = await request.read_body(SendFrames)
        batch = FrameBatch(body.sequence, body.frames, body.pong)
        if self._channels is None or not await self._channels.publish(body.stream_id, request.principal, batch):
            raise NotFound("No open stream of this caller has this stream_id")
        return RestResponse(status=204)

    async def _authenticate(self, request: RestRequest) -> None:
        """Set the principal of the token of a request, if it has one. Without a token, the principal has no rights.

        Raises: InsecureTransport, Unauthorized and the other errors of `Authenticator.authenticate`.
        """
        if self._authenticator is not None:
            self._authenticator.require_secure(request.scope)  # stream ids and AUTH are credentials too
            request.principal = await self._authenticator.authenticate(request.scope) or request.principal
