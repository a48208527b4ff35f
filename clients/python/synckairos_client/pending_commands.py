"""Commands without an answer. A command is sent again with the same id on each new connection, until it is answered."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from synckairos_client.errors import CommandRefused, PayloadTooLarge, SyncKairosError
from synckairos_client.generated.clock.lag_compensation import LagReceipt

Message = dict[str, Any]
"""A socket message as JSON values."""


MAX_SENT_BYTES = 65_536
"""Bytes: maximum size of a message that the server accepts."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to an accepted command.

    Either the command resulted in `version` of `epoch`, and `expired_participant_id` is None. Or an expiry consumed the
    command, which had no effect, and `expired_participant_id` is the participant whose time ran out. `lag_receipt` is
    the charge of the turn that a switch ended, None without lag compensation. `warnings` lists the arguments that have
    no effect, each with `path` and `message`.
    """

    command_id: str
    version: int
    epoch: str
    expired_participant_id: str | None = None
    lag_receipt: LagReceipt | None = None
    warnings: tuple[dict[str, str], ...] = ()


def command_frame(command_id: str, session_id: str, verb: str, args: Mapping[str, Any], **members: Any) -> bytes:
    """Return the COMMAND message of a command, as UTF-8 JSON.

    `members` are further members of the message: `expected_version`, `expected_turn` and `on_behalf_of`. A member that
    is None is absent.

    Raises: PayloadTooLarge if the message has more than `MAX_SENT_BYTES` bytes.
    """
    message: Message = {"type": "COMMAND", "id": command_id, "session_id": session_id, "command": verb, "args": args}
    frame = orjson.dumps(message | {name: value for name, value in members.items() if value is not None})
    if len(frame) > MAX_SENT_BYTES:
        raise PayloadTooLarge(f"A message has at most {MAX_SENT_BYTES} bytes, this one has {len(frame)}; use REST")
    return frame


class PendingCommands:
    """The commands that have no answer yet, in the order in which they were added."""

    def __init__(self) -> None:
        self._pending: dict[str, tuple[bytes, asyncio.Future[Ack]]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def frames_to_resend(self) -> list[bytes]:
        """Return the messages of all pending commands, in the order in which they were added.

        The client must send these messages again on a new connection.
        """
        return [frame for frame, _ in self._pending.values()]

    def add(self, command_id: str, frame: bytes) -> "asyncio.Future[Ack]":
        """Add a command, and return the future of its answer. `frame` is the COMMAND message.

        Raises: ValueError if a command with this id is already pending.
        """
        if command_id in self._pending:
            raise ValueError(f"command {command_id} is already pending; await that call")
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._pending[command_id] = frame, future
        return future

    def remove(self, command_id: str, future: "asyncio.Future[Ack]") -> None:
        """Remove a command after its caller has stopped to wait for `future`.

        If a newer command with the same id is pending, that command stays.
        """
        if self._pending.get(command_id, (b"", None))[1] is future:
            del self._pending[command_id]

    def resolve(self, message: Message) -> bool:
        """Set the answer of the pending command to which an ACK or ERROR replies, and remove the command.

        Return False, and do nothing, if no pending command has the id in `reply_to`.
        """
        _, future = self._pending.pop(message.get("reply_to", ""), (b"", None))
        if future is None:
            return False
        if future.done():
            return True
        if message["type"] == "ACK":
            expired_id, receipt = message.get("expired_participant_id"), message.get("lag_receipt")
            lag_receipt = None if receipt is None else LagReceipt(**receipt)
            warnings = tuple(message.get("warnings", ()))
            future.set_result(
                Ack(message["reply_to"], message["version"], message["epoch"], expired_id, lag_receipt, warnings)
            )
        else:
            future.set_exception(CommandRefused(message["code"], message["message"], message.get("details")))
        return True

    def fail_all(self, error: SyncKairosError) -> None:
        """Make the callers of all pending commands raise `error`."""
        for _, future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._pending.clear()
