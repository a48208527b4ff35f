"""Commands under way: each has one id, and is sent again on every new connection until it is answered."""

import asyncio
from dataclasses import dataclass
from typing import Any

from synckairos.client.errors import CommandRefused
from synckairos.clock.lag_compensation import LagReceipt
from synckairos.errors import SyncKairosError

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ack:
    """A command happened, once: it made `version` of `epoch`, or was consumed by an expiry that it met.

    `lag_receipt` tells how the turn that a switch ended was charged, where the session compensates lag.
    """

    command_id: str
    version: int
    epoch: str
    expired_participant_id: str | None = None
    lag_receipt: LagReceipt | None = None


class PendingCommands:
    """What was asked and isn't answered yet, in the order it was asked."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[bytes, asyncio.Future[Ack]]] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def frames(self) -> list[bytes]:
        """Return what a new connection must send again."""
        return [frame for frame, _ in self._asked.values()]

    def add(self, command_id: str, frame: bytes) -> "asyncio.Future[Ack]":
        """Keep a command until it is answered. Raises ValueError where one with its id is under way."""
        if command_id in self._asked:
            raise ValueError(f"command {command_id} is under way already; await that one")
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._asked[command_id] = frame, future
        return future

    def drop(self, command_id: str, future: "asyncio.Future[Ack]") -> None:
        """Forget a command that nobody waits for any more; one that was asked under its id meanwhile stays."""
        if self._asked.get(command_id, (b"", None))[1] is future:
            del self._asked[command_id]

    def answer(self, message: Message) -> bool:
        """Give an ACK or ERROR to whoever asked; False where nobody did."""
        _, future = self._asked.pop(message.get("reply_to", ""), (b"", None))
        if future is None:
            return False
        if future.done():
            return True
        if message["type"] == "ACK":
            expired, receipt = message.get("expired_participant_id"), message.get("lag_receipt")
            spared = None if receipt is None else LagReceipt(**receipt)
            future.set_result(Ack(message["reply_to"], message["version"], message["epoch"], expired, spared))
        else:
            future.set_exception(CommandRefused(message["code"], message["message"], message.get("details")))
        return True

    def fail(self, error: SyncKairosError) -> None:
        """Tell all who wait that no answer will come."""
        for _, future in self._asked.values():
            if not future.done():
                future.set_exception(error)
        self._asked.clear()
