"""The primary of a Redis service, found through its sentinels.

The sentinels are asked at each attempt to connect, because the primary changes at a failover. A sentinel can be behind
the others, so the server at the address is asked for its role too.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from synckairos.backoff import Backoff
from synckairos.store.redis_connection import TlsConnection, open_connection
from synckairos.store.redis_errors import reraise_swallowed_cancellation
from synckairos.telemetry import log
from synckairos.urls.redis_url import RedisAddress, Sentinels

LATE_ANSWER_S = 0.1
"""Seconds after the first answer within which answers of other sentinels are considered."""

RECONNECT_S = (0.1, 2.0)
"""Seconds between two attempts to connect to a sentinel: maximum of the first delay, and of all delays."""

_SILENCE_S = 10.0  # seconds without a message after which the connection to a sentinel is checked

logger = log.get_logger(__name__)


def sentinel_addresses(address: RedisAddress) -> list[RedisAddress]:
    """Return the address of each sentinel, with the credentials for the sentinels and the TLS options of `address`."""
    sentinels = _sentinels_of(address)
    return [
        RedisAddress(host, port, username=sentinels.username, password=sentinels.password, tls=address.tls)
        for host, port in sentinels.addresses
    ]


@dataclass(frozen=True, slots=True, order=True)
class SentinelState:
    """What a sentinel knows about a service."""

    configuration: int
    """Number of the configuration. Each failover begins a newer one."""

    host: str
    port: int
    replicas: int
    quorum: int
    """Number of sentinels that must agree before a failover begins."""


async def find_primary(address: RedisAddress, timeout_s: float) -> RedisAddress:
    """Return `address` with the host and the port of the primary that the sentinels name now, and without sentinels.

    The answer with the newest configuration counts. `timeout_s` is the maximum number of seconds for connecting to a
    sentinel, and for its answer.

    Raises: redis.exceptions.ConnectionError if no sentinel names a primary.
    """
    newest = max(await read_sentinel_states(address, timeout_s, late_answer_s=LATE_ANSWER_S))
    return replace(address, host=newest.host, port=newest.port, sentinels=None)


async def require_same_primary(address: RedisAddress, primary: RedisAddress, timeout_s: float) -> None:
    """Check that the sentinels still name the primary to which a connection was opened.

    A suspended primary can accept a connection after a failover, before a sentinel tells it that it is no primary.

    Raises: redis.exceptions.ConnectionError if the sentinels name another primary, or none.
    """
    if await find_primary(address, timeout_s) != primary:
        raise RedisConnectionError("the primary has changed")


async def read_sentinel_states(
    address: RedisAddress, timeout_s: float, late_answer_s: float | None = None
) -> list[SentinelState]:
    """Return the states of the sentinels that answer, at least one. All sentinels are asked at the same time.

    After the first answer, wait at most `late_answer_s` seconds for each further answer; None waits for all.
    `timeout_s` as in `find_primary`.

    Raises: redis.exceptions.ConnectionError if no sentinel names a primary.
    """
    service = _sentinels_of(address).service
    questions = [
        asyncio.create_task(_ask(open_connection(sentinel, timeout_s), service))
        for sentinel in sentinel_addresses(address)
    ]
    states: list[SentinelState] = []
    faults: list[BaseException] = []
    pending = set(questions)
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=late_answer_s if states else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for question in done:
                if (fault := question.exception()) is None:
                    states.append(question.result())
                else:
                    faults.append(fault)
    finally:
        for question in pending:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
    if not states:
        raise RedisConnectionError(f"no sentinel names a primary: {faults[0]}")
    return states


async def _ask(connection: Connection, service: str) -> SentinelState:
    """Ask a sentinel for its state of a service.

    Raises: the errors of redis-py.
    """
    try:
        await connection.connect()
        # During a failover, the fields of its leader have the new configuration and still the former address. So the
        # address is asked for after them, in the command that names the promoted server.
        fields = _parse_pairs(await request(connection, "SENTINEL", "MASTER", service))
        host, port = await request(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        return SentinelState(
            int(fields["config-epoch"]),
            host.decode(),
            int(port),
            int(fields["num-slaves"]),
            int(fields["quorum"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RedisConnectionError(f"a sentinel gave an answer without a primary: {error!r}") from None
    finally:
        await connection.disconnect(nowait=True)


async def request(connection: Connection, *command: str) -> Any:
    """Send a command on a redis-py connection and return its reply.

    Raises: the errors of redis-py.
    """
    await connection.send_command(*command)
    return await connection.read_response()


def _parse_pairs(reply: list[bytes]) -> dict[str, str]:
    texts = [each.decode() for each in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _sentinels_of(address: RedisAddress) -> Sentinels:
    if address.sentinels is None:
        raise ValueError("the address has no sentinels")
    return address.sentinels


def check_role(reply: Any) -> None:
    """Check the reply to ROLE of a server that a sentinel named as the primary.

    Raises: redis.exceptions.ConnectionError if the server is no primary. The sentinels will name another one.
    """
    if not reply or reply[0] != b"master":
        raise RedisConnectionError("the server that the sentinels name is no primary")


class PrimaryConnection(Connection):
    """A redis-py connection to the primary of a service. Each time it connects, it asks the sentinels first."""

    def __init__(self, *, address: RedisAddress, timeout_s: float, **options: Any) -> None:
        """Create a connection. `address` has the sentinels, which answer within `timeout_s` seconds."""
        super().__init__(**options)
        self._address = address
        self._timeout_s = timeout_s

    async def connect(self) -> None:
        """Connect to the present primary, if there is no connection.

        Raises: the errors of redis-py.
        """
        if self.is_connected:
            return
        primary = await find_primary(self._address, self._timeout_s)
        self.host, self.port = primary.host, primary.port
        await super().connect()  # type: ignore[no-untyped-call]
        try:
            check_role(await request(self, "ROLE"))
            await require_same_primary(self._address, primary, self._timeout_s)
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. After a refusal to write, disconnect, because the server is no primary any longer.

        Raises: the errors of redis-py.
        """
        try:
            return await super().read_response(*args, **options)
        except ReadOnlyError:
            await self.disconnect(nowait=True)
            raise


class TlsPrimaryConnection(PrimaryConnection, TlsConnection):
    """A `PrimaryConnection` over TLS."""


class FailoverListener:
    """Listens to the announcements of failovers by all sentinels of an address."""

    def __init__(self, address: RedisAddress, timeout_s: float, on_failover: Callable[[str, int], None]) -> None:
        """Create a listener for the service of `address`.

        `timeout_s` is the maximum number of seconds for connecting to a sentinel. `on_failover` is called with host and
        port of the new primary, once for each sentinel that announces the failover.
        """
        self._address = address
        self._timeout_s = timeout_s
        self._on_failover = on_failover
        self._service = _sentinels_of(address).service
        self._newest: tuple[str, int] | None = None
        """The primary of the last announcement, so that one failover has one log line."""

    async def run(self) -> None:
        """Listen to all sentinels until cancelled. After each failure, connect again."""
        async with asyncio.TaskGroup() as group:
            for sentinel in sentinel_addresses(self._address):
                group.create_task(self._listen(sentinel))

    async def _listen(self, sentinel: RedisAddress) -> None:
        backoff = Backoff(*RECONNECT_S)
        while True:
            connection = open_connection(sentinel, self._timeout_s)
            began_s = time.monotonic()
            try:
                await connection.connect()
                await connection.send_command("SUBSCRIBE", "+switch-master", "+promoted-slave")
                await self._read_messages(connection)
            except (RedisError, OSError) as error:
                logger.debug("sentinel not reachable", host=sentinel.host, port=sentinel.port, cause=repr(error))
            finally:
                await connection.disconnect(nowait=True)
            reraise_swallowed_cancellation()
            await asyncio.sleep(backoff.delay_after_run_s(time.monotonic() - began_s))

    async def _read_messages(self, connection: Connection) -> None:
        is_checked = False
        while True:
            match await connection.read_response(timeout=_SILENCE_S):
                case None if is_checked:
                    raise RedisConnectionError("the sentinel does not answer")
                case None:
                    await connection.send_command("PING")
                    is_checked = True
                    continue
                case [b"message", bytes(channel), bytes(text)]:
                    self._handle_announcement(channel, text.decode(errors="replace").split(" "))
            is_checked = False

    def _handle_announcement(self, channel: bytes, words: list[str]) -> None:
        """Handle the words of a message.

        They are service, old host, old port, new host, new port. In `+promoted-slave`, which comes earlier, they are
        `slave`, name, new host, new port, `@`, service, old host, old port.
        """
        match channel, words:
            case (b"+switch-master", [self._service, _, _, host, port]) if port.isdigit():
                primary = (host, int(port))
            case (b"+promoted-slave", [_, _, host, port, "@", self._service, *_]) if port.isdigit():
                primary = (host, int(port))
            case _:
                return
        if primary != self._newest:
            self._newest = primary
            logger.info("primary of redis has changed", service=self._service, host=primary[0], port=primary[1])
        self._on_failover(*primary)
