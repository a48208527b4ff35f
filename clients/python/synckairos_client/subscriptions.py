"""The watches of a client: subscribes them on each connection, and passes the messages of the server to them."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from synckairos_client import errors
from synckairos_client.errors import SessionNotFound, SyncKairosError
from synckairos_client.generated.backoff import Backoff
from synckairos_client.generated.clock.transition import EventType
from synckairos_client.replica import Message, ReplicaGap
from synckairos_client.watched_session import Watch

RESUBSCRIBE_DELAY_S = 0.5
"""Seconds, in addition to the back-off, before a SUBSCRIBE is sent again after a temporary refusal."""


class Subscriptions:
    """The watches of a client by the id of their session.

    `send` sends a message on the present connection, and does nothing without a connection. `make_watch` creates the
    watch of a session, with the id of the session and the value of `only`.
    """

    def __init__(
        self, send: Callable[[bytes], None], make_watch: Callable[[str, str | None], Watch], backoff: Backoff
    ) -> None:
        self._send = send
        self._make_watch = make_watch
        self._backoff = backoff
        self._watches: dict[str, Watch] = {}
        self._connections = 0
        """Number of connections on which the watches were subscribed."""

    def __len__(self) -> int:
        return len(self._watches)

    def acquire(self, session_id: str, only: str | None) -> Watch:
        """Return the watch of a session for one more user, and subscribe it if it is new.

        Raises: ValueError if the session has a watch with another `only`.
        """
        watch = self._watches.get(session_id)
        if watch is None:
            watch = self._watches[session_id] = self._make_watch(session_id, only)
            self._subscribe(watch)
        elif watch.only != only:
            raise ValueError("The client already watches this session with another value of only")
        watch.users += 1
        return watch

    def release(self, watch: Watch) -> None:
        """End the use of a watch. The last user ends the watch."""
        watch.users -= 1
        if watch.users:
            return
        watch.end_iterations()
        if self._watches.get(watch.session_id) is watch:
            del self._watches[watch.session_id]
            self._send(orjson.dumps({"type": "UNSUBSCRIBE", "session_id": watch.session_id}))

    def subscribe_all(self) -> None:
        """Subscribe all watches on a new connection."""
        self._connections += 1
        for watch in self._watches.values():
            self._subscribe(watch)

    def receive(self, message: Message) -> None:
        """Handle a message of the server about a session."""
        watch = self._watches.get(message.get("session_id", ""))
        if watch is None:
            return
        match message["type"]:
            case "ERROR":
                self._receive_refusal(watch, message)
            case "UNSUBSCRIBED":
                text = "The rights of this client do not reach the session"
                self._end(watch, errors.SubscriptionRefused(message["code"], text))
            case _:
                self._apply(watch, message)

    def fail_all(self, failure: SyncKairosError) -> None:
        """End all watches, and make their users raise `failure`."""
        for watch in self._watches.values():
            watch.end_iterations(failure)
        self._watches.clear()

    def _apply(self, watch: Watch, message: dict[str, Any]) -> None:
        try:
            watch.apply_message(message)
        except ReplicaGap:
            if not watch.is_subscribing:
                self._subscribe(watch)
        if message["type"] == "EVENT" and message["event_type"] == EventType.SESSION_DELETED:
            self._end(watch, errors.SessionDeleted(watch.session_id))

    def _receive_refusal(self, watch: Watch, message: Message) -> None:
        """Handle the refusal of a SUBSCRIBE.

        After a temporary refusal subscribe again, after a permanent refusal end the watch.
        """
        code = message["code"]
        if code in errors.TEMPORARY_CODES:
            delay_s = RESUBSCRIBE_DELAY_S + self._backoff.next_s()
            asyncio.get_running_loop().call_later(delay_s, self._resubscribe, watch, self._connections)
        elif code == SessionNotFound.code:
            failure = errors.SessionDeleted if watch.has_state else SessionNotFound
            self._end(watch, failure(watch.session_id))
        else:
            self._end(watch, errors.SubscriptionRefused(code, message["message"], message.get("details")))

    def _resubscribe(self, watch: Watch, connections: int) -> None:
        if self._connections == connections and self._watches.get(watch.session_id) is watch:
            self._subscribe(watch)

    def _subscribe(self, watch: Watch) -> None:
        watch.is_subscribing = True
        self._send(orjson.dumps(watch.make_subscribe_message()))

    def _end(self, watch: Watch, failure: SyncKairosError) -> None:
        del self._watches[watch.session_id]
        watch.end_iterations(failure)
