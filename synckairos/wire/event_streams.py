"""Formats of the fallback transport: Pydantic models of the requests, and batches of frames between instances."""

from typing import Annotated

import msgspec
from msgspec import Struct
from pydantic import Field

from synckairos.wire.field_types import Omittable, StrictModel

MAX_FRAME_CHARACTERS = 65_536
"""Maximum characters of one frame, as for messages of WebSockets."""

MAX_FRAMES = 64
"""Maximum number of frames in one batch."""

StreamId = Annotated[
    str, Field(min_length=1, max_length=64, description="The `stream_id` of the event `open` of the stream")
]
Sequence = Annotated[
    int,
    Field(
        ge=1,
        le=2**53,
        description="Number of this batch: 1 for the first batch of a stream, then always 1 more. A batch whose number "
        "the stream has received already has no effect",
    ),
]
Frames = Annotated[
    list[Annotated[str, Field(max_length=MAX_FRAME_CHARACTERS)]],
    Field(max_length=MAX_FRAMES, description="Messages of the client, each as the JSON text of one WebSocket message"),
]
Pong = Annotated[
    str,
    Field(pattern=r"^([0-9a-f]{2}){0,125}\z", description="Data of the last event `ping` that is not answered yet"),
]


class OpenStreamQuery(StrictModel):
    """Query parameters of a stream."""

    ticket: Omittable[Annotated[str, Field(description="Ticket from `POST /v1/tickets`, instead of a token")]] = None


class SendFrames(StrictModel):
    """A batch of messages of the client for its stream."""

    stream_id: StreamId
    sequence: Sequence
    frames: Frames
    pong: Omittable[Pong] = None


class FrameBatch(Struct, frozen=True):
    """A batch of a client's messages on its way to the instance of the stream.

    `sequence` is the number of the batch, from 1. `frames` are the JSON texts. `pong` is the payload of an answered
    ping as hexadecimal digits, None if the batch answers no ping.
    """

    sequence: int
    frames: list[str]
    pong: str | None = None

    def encode(self) -> bytes:
        """Return the batch as a message of the channel of its stream."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, message: bytes) -> "FrameBatch":
        """Return the batch in a message. Raises: msgspec.DecodeError if the message is invalid."""
        return msgspec.json.decode(message, type=cls)
