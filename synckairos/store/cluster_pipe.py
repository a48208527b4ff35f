"""The shared connections to a Redis Cluster: one to each primary, and the slots that each primary serves.

A command goes to the primary of its slot. If that node answers that it does not serve the slot, it has not executed the
command, so the command is sent to the right node. A command without a reply is never repeated, as with one server.

The library redis-py also has a client for a Cluster. But the job queue needs a version of redis-py whose asyncio client
has no pub/sub for a Cluster, and which opens a pool of connections for each node.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from synckairos.backoff import Backoff
from synckairos.store.call_metrics import find_call_series
from synckairos.store.cluster_commands import SentCommand, prepare_commands
from synckairos.store.cluster_node import ClusterNode
from synckairos.store.cluster_slots import (
    ClusterView,
    NodeAddress,
    Redirect,
    parse_cluster_view,
    parse_redirect,
    slot_of_command,
    slot_of_pattern,
)
from synckairos.store.lua_scripts import CLUSTER_SCRIPT_TEXTS
from synckairos.store.partition_tags import SLOTS
from synckairos.store.redis_errors import NOT_EXECUTED_ERRORS, ErrorReply
from synckairos.store.shared_connection import Argument, RedisCommand, RedisPipe, pack_command

REFRESH_S = 10.0
"""Seconds between two reads of the slots if nothing has changed."""

RETRY_S = (0.02, 0.2)
"""Seconds before a refused command is sent again, or before the slots are read again during a change: maximum of the
first delay, and of all delays."""

MAX_ASKED_NODES = 5
"""Maximum number of nodes that are asked for the slots at the same time."""

_ASKING = pack_command(("ASKING",))


class ClusterPipe(RedisPipe):
    """The shared connections to the primaries of a Cluster. Use it with `async with`, like a `RedisPipe`."""

    is_cluster: ClassVar[bool] = True

    def __init__(self, url: str, timeout_s: float) -> None:
        """Create the connections to the Cluster at `url`, which are opened by `async with`.

        `timeout_s` is the maximum number of seconds for connecting, for each reply, and for all retries of a command
        that nodes refuse.
        """
        super().__init__(url, timeout_s)
        self.slots_changed = asyncio.Event()
        """Set when slots have moved to another primary. The attribute is then a new event, for the next change."""
        self._nodes: dict[NodeAddress, ClusterNode] = {}
        self._slots: list[NodeAddress | None] = [None] * SLOTS
        self._view: ClusterView | None = None
        self._has_followed_move = False
        """Whether a node has named a new primary of a slot since the last read of the slots."""
        self._progress = asyncio.Event()
        self._refresh_wanted = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        for node in self._address.cluster_nodes:
            await self._add_node(node)
        self._tasks.append(asyncio.create_task(self._keep_slots()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._tasks, *self._background):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._background, return_exceptions=True)
        await asyncio.gather(*(node.__aexit__() for node in self._nodes.values()))

    # -- slots --------------------------------------------------------------------------------------------------------

    @property
    def primaries(self) -> list[ClusterNode]:
        """Return the connections to the primaries that serve slots, in the order of their first slots."""
        nodes = () if self._view is None else self._view.primaries
        return [self._nodes[node] for node in nodes if node in self._nodes]

    @property
    def timeout_s(self) -> float:
        """Return the maximum number of seconds for connecting to a node, and for each reply."""
        return self._timeout_s

    async def read_view(self) -> ClusterView:
        """Return the state of the Cluster, as the nodes with the newest knowledge see it.

        Raises: the errors of `call` if no node answers.
        """
        await self._wait_for_slots()
        assert self._view is not None
        return self._view

    def node_of_slot(self, slot: int) -> ClusterNode | None:
        """Return the connection to the primary of a slot, None if no primary is known."""
        node = self._slots[slot]
        return None if node is None else self._nodes.get(node)

    def note_node_connected(self) -> None:
        """Called when a connection to a node was opened."""
        self._note_connected()
        self._note_progress()
        if self._view is None:
            self._refresh_wanted.set()

    def request_refresh(self) -> None:
        """Read the slots again soon. Return immediately."""
        self._refresh_wanted.set()

    def _note_progress(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def _add_node(self, node: NodeAddress) -> ClusterNode:
        if (found := self._nodes.get(node)) is None:
            found = self._nodes[node] = ClusterNode(self, node, self._address, self._timeout_s)
            await found.__aenter__()
        return found

    async def _keep_slots(self) -> None:
        """Read the slots regularly and after each change, until cancelled."""
        backoff = Backoff(*RETRY_S)
        while True:
            self._refresh_wanted.clear()
            await self._refresh()
            is_settled = self._view is not None and all(node.open_connection for node in self._nodes.values())
            if is_settled:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S):
                        await self._refresh_wanted.wait()
                await asyncio.sleep(RETRY_S[0] / 2)  # one read answers many requests
                backoff.reset()
            elif self._view is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(backoff.next_s()):
                        await self._refresh_wanted.wait()
            else:
                await asyncio.sleep(backoff.next_s())

    async def _refresh(self) -> None:
        """Ask several nodes for the slots, and use the answer of the newest epoch.

        A node that the others have replaced can still name itself, with an older epoch.
        """
        nodes = [node for node in self._nodes.values() if node.open_connection is not None]
        if not nodes:
            for seed in self._address.cluster_nodes:
                await self._add_node(seed)
            return
        asked = random.sample(nodes, min(len(nodes), MAX_ASKED_NODES))
        views = [view for view in await asyncio.gather(*map(self._ask, asked)) if view is not None and view.ranges]
        if views:
            await self._use(max(views, key=lambda view: (view.epoch, view.is_ok)))

    async def _ask(self, node: ClusterNode) -> ClusterView | None:
        try:
            info, slots = await node.call_many((("CLUSTER", "INFO"), ("CLUSTER", "SLOTS")))
            return parse_cluster_view(info, slots, node.node)
        except (RedisError, OSError) as error:
            self._last_error = str(error)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            self._last_error = f"a node names no slots: {error!r}"
        return None

    async def _use(self, view: ClusterView) -> None:
        if self._view is not None and view.epoch < self._view.epoch and any(n.open_connection for n in self.primaries):
            return
        slots: list[NodeAddress | None] = [None] * SLOTS
        for each in view.ranges:
            slots[each.first : each.last + 1] = [each.primary] * (each.last + 1 - each.first)
        has_changed = slots != self._slots or self._has_followed_move
        self._has_followed_move = False
        self._view, self._slots = view, slots
        for primary in view.primaries:
            await self._add_node(primary)
        for node in self._nodes.keys() - set(view.primaries):
            self._start(self._nodes.pop(node).close_when_idle())
        if has_changed:
            self.slots_changed.set()
            self.slots_changed = asyncio.Event()
            self._note_progress()

    def _start(self, job: Any) -> None:
        task = asyncio.ensure_future(job)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def call_on_each_primary(self, *command: Argument) -> list[Any]:
        """Send one command without a key to each primary, and return the replies.

        Raises: the errors of `call`.
        """
        await self._wait_for_slots()
        return list(await asyncio.gather(*(node.call(*command) for node in self.primaries)))

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """Yield the keys that match a glob-style pattern, as `RedisPipe.scan`.

        A pattern whose hash tag has no wildcard is searched on one node, every other on all primaries. If slots move
        during the scan, it begins again, so that no key is missed.
        """
        await self._wait_for_slots()
        slot = slot_of_pattern(pattern)
        while True:
            slots_changed = self.slots_changed
            nodes = self.primaries if slot is None else [self.node_of_slot(slot)]
            for node in nodes:
                if node is None:
                    raise RedisConnectionError("no primary serves the slot")
                async for found in node.scan(pattern, count):
                    yield found
            await self._refresh()
            if not slots_changed.is_set():
                return

    def send_unawaited(self, command: RedisCommand) -> None:
        """Send one command soon. Return immediately; the reply is ignored.

        Without a connection to the node of its slot, the command is dropped.
        """
        slot = slot_of_command(command)
        node = self.node_of_slot(slot or 0)
        if node is not None and node.open_connection is not None:
            self._start(self._send_ignoring_errors(command))

    async def _send_ignoring_errors(self, command: RedisCommand) -> None:
        with suppress(RedisError, OSError):
            await self._send((command,))

    async def _send(self, commands: Sequence[RedisCommand]) -> list[Any]:
        if not commands:
            await self._wait_for_slots()
            return []
        unsent = prepare_commands(commands)
        replies: list[Any] = [None] * len(commands)
        # Without a suspension before, so that the commands of two calls reach a node in the order of the calls.
        if not all(self._is_connected(each) for each in unsent):
            await self._wait_until_connected(unsent)
        loop = asyncio.get_running_loop()
        until_s, backoff = loop.time() + self._timeout_s, Backoff(*RETRY_S)
        while True:
            refused = await self._send_once(unsent, replies)
            if not refused:
                return replies
            waits = await self._follow_redirects(refused, replies)
            if loop.time() >= until_s:
                return replies
            if waits:
                await asyncio.sleep(backoff.next_s())
            unsent = refused
            if not all(self._is_connected(each) for each in unsent):
                await self._wait_until_connected(unsent)

    async def _send_once(self, unsent: list[SentCommand], replies: list[Any]) -> list[SentCommand]:
        """Send commands to their nodes and store the replies. Return the commands that a node refused.

        Raises: ConnectionError or TimeoutError of redis if a node did not answer.
        """
        groups: dict[NodeAddress, list[SentCommand]] = defaultdict(list)
        for each in unsent:
            groups[self._node_for(each)].append(each)
        calls = [(group, self._enqueue(node, group)) for node, group in groups.items()]
        if len(calls) > 1:
            await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        refused = []
        for group, call in calls:
            received = await call
            at = 0
            for each in group:
                at += (each.ask is not None) + bool(each.script)
                reply = replies[each.at] = received[at]
                at += 1
                if isinstance(reply, ErrorReply) and str(reply).startswith(NOT_EXECUTED_ERRORS):
                    refused.append(each)
                each.script = ""
        return refused

    def _enqueue(self, node: NodeAddress, group: list[SentCommand]) -> "asyncio.Future[list[Any]]":
        found = self._nodes.get(node)
        connection = None if found is None else found.open_connection
        if connection is None:
            raise RedisConnectionError(f"not connected to the Redis node {node[0]}:{node[1]}")
        packed = []
        for each in group:
            if each.script:
                packed.append(pack_command(("SCRIPT", "LOAD", each.script)))
            if each.ask is not None:
                packed.append(_ASKING)
            packed.append(pack_command(each.command))
        return connection.enqueue(packed, find_call_series(group[0].command))

    async def _follow_redirects(self, refused: list[SentCommand], replies: list[Any]) -> bool:
        """Note for each refused command where to send it again. Return whether the retry must wait."""
        waits = False
        for each in refused:
            text = str(replies[each.at])
            redirect = parse_redirect(text, self._node_for(each))
            if text.startswith("NOSCRIPT"):
                script = CLUSTER_SCRIPT_TEXTS.get(str(each.command[1]))
                if script is None:
                    raise replies[each.at]
                each.script = script
                continue
            each.ask = None
            if redirect is None:  # TRYAGAIN or CLUSTERDOWN
                waits = True
                self.request_refresh()
            else:
                waits |= await self._follow(each, redirect)
        return waits

    async def _follow(self, sent: SentCommand, redirect: Redirect) -> bool:
        """Use the node that a redirect names. Return whether the retry must wait, because the redirect is no news."""
        node = await self._add_node(redirect.node)
        if redirect.is_ask:
            sent.ask = redirect.node
            return node.open_connection is None
        self.request_refresh()
        is_known = self._slots[redirect.slot] == redirect.node
        self._slots[redirect.slot] = redirect.node
        self._has_followed_move = True
        return is_known

    def _node_for(self, sent: SentCommand) -> NodeAddress:
        """Return the node to which a command is sent now.

        Raises: ConnectionError of redis if no primary of its slot is known.
        """
        node = sent.ask or self._slots[sent.slot or 0]
        if node is None:
            raise RedisConnectionError(f"not connected to Redis: {self._reason}")
        return node

    def _is_connected(self, sent: SentCommand) -> bool:
        node = sent.ask or self._slots[sent.slot or 0]
        found = None if node is None else self._nodes.get(node)
        return found is not None and found.open_connection is not None

    async def _wait_until_connected(self, unsent: Sequence[SentCommand]) -> None:
        """Wait until the node of each command is connected, at most for the timeout.

        Raises: ConnectionError of redis after the timeout.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                while not all(self._is_connected(each) for each in unsent):
                    self.request_refresh()
                    await self._progress.wait()
        except TimeoutError as cause:
            raise RedisConnectionError(f"not connected to Redis: {self._reason}") from cause

    async def _wait_for_slots(self) -> None:
        await self._wait_until_connected([SentCommand(0, 0, ())])

    @property
    def _reason(self) -> str:
        """Return why there is no connection: the error of a node without a connection, or of the last question."""
        if self._view is None and any(node.open_connection for node in self._nodes.values()):
            return self._last_error
        return next((node.last_error for node in self._nodes.values() if not node.open_connection), self._last_error)
