"""A Redis Cluster of three primaries with a replica each, all real processes of the embedded Valkey."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from synckairos.embedded.data_dirs import wait_until
from tests.ports import free_port
from tests.sentinels import Node

PRIMARIES = 3
SLOTS = 16_384
DEADLINE_S = 30.0

_OPTIONS = (
    *("cluster-enabled yes", "cluster-node-timeout 1000", "cluster-replica-validity-factor 0"),
    *("cluster-require-full-coverage no", "appendonly yes", 'save ""', "maxmemory-policy noeviction"),
    *("repl-diskless-sync-delay 0", "cluster-allow-replica-migration no"),
)


class ClusterSetup:
    """Three primaries, which share the slots equally, and three replicas."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        self._folder = folder
        self.nodes: list[Node] = []
        self._ids: dict[Node, str] = {}

    @property
    def url(self) -> str:
        """The URL of the Cluster, with two of its nodes."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[4].port}"

    def start(self) -> None:
        """Start all processes, and wait until each node knows all slots and replicas."""
        for number in range(2 * PRIMARIES):
            bus = free_port()
            node = Node(self._folder / f"node-{number}", *_OPTIONS, *self._options, f"cluster-port {bus}")
            self.nodes.append(node)
            _wait_for_reply(node, "PONG", "PING")
            self._ids[node] = node.ask("CLUSTER", "MYID")[0]
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number:
                self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), str(bus))
        for number, node in enumerate(self.nodes[:PRIMARIES]):
            first, end = number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
        for number, node in enumerate(self.nodes[PRIMARIES:]):
            primary = self._ids[self.nodes[number]]
            _wait_for_reply(node, "OK", "CLUSTER", "REPLICATE", primary)
        self.wait_until_complete()

    def wait_until_complete(self) -> None:
        """Wait until all nodes know three primaries with one connected replica each, and serve commands."""
        _wait(lambda: all(self._knows_all(node) for node in self.nodes))

    def _knows_all(self, node: Node) -> bool:
        lines = [line.split(" ") for line in self.describe(node)]
        flags = [line[2] for line in lines]
        replicates = (
            "master_link_status:up" in (info := node.ask("INFO", "replication")) or "connected_slaves:1" in info
        )
        return (
            "cluster_state:ok" in node.ask("CLUSTER", "INFO")
            and len(lines) == 2 * PRIMARIES
            and sum("master" in each for each in flags) == PRIMARIES
            and not any("fail" in each or "handshake" in each for each in flags)
            and replicates
        )

    @staticmethod
    def describe(node: Node) -> list[str]:
        """Return the lines of CLUSTER NODES as a node knows them."""
        return [line for text in node.ask("CLUSTER", "NODES") for line in text.split("\n") if line]

    def id_of(self, node: Node) -> str:
        """Return the id of a node in the Cluster."""
        return self._ids[node]

    def primary_of_slot(self, slot: int) -> Node:
        """Return the node that serves a slot, as the first node that answers knows it."""
        for node in self.nodes:
            for line in self.describe(node):
                _, address, flags, *_rest = words = line.split(" ")
                if "master" in flags and "fail" not in flags and any(_has_slot(each, slot) for each in words[8:]):
                    port = int(address.split("@")[0].rpartition(":")[2])
                    return next(each for each in self.nodes if each.port == port)
        raise AssertionError(f"no node serves slot {slot}")

    def primaries(self) -> list[Node]:
        """Return the nodes that serve slots, as the first node that answers knows them."""
        lines = next(filter(None, map(self.describe, self.nodes)))
        ports = {int(words[1].split("@")[0].rpartition(":")[2]) for line in lines if len(words := line.split(" ")) > 8}
        return [node for node in self.nodes if node.port in ports]

    def replica_of(self, primary: Node) -> Node:
        """Return the replica of a primary."""
        for line in self.describe(primary):
            words = line.split(" ")
            if words[3] == self._ids[primary]:
                port = int(words[1].split("@")[0].rpartition(":")[2])
                return next(each for each in self.nodes if each.port == port)
        raise AssertionError("the primary has no replica")

    def wait_for_other_primary(self, slot: int, former: Node) -> Node:
        """Wait until another node than `former` serves a slot, and return it."""
        others = [node for node in self.nodes if node is not former]

        def moved() -> bool:
            return all(self._names_other(node, slot, former) for node in others)

        _wait(moved)
        return next(node for node in others if self._serves(node, slot))

    def _names_other(self, node: Node, slot: int, former: Node) -> bool:
        for line in self.describe(node):
            words = line.split(" ")
            if any(_has_slot(each, slot) for each in words[8:]):
                return words[0] != self._ids[former]
        return False

    def _serves(self, node: Node, slot: int) -> bool:
        for line in self.describe(node):
            words = line.split(" ")
            if words[0] == self._ids[node]:
                return any(_has_slot(each, slot) for each in words[8:])
        return False

    def move_slot(self, slot: int, target: Node, *, atomically: bool) -> None:
        """Move a slot with its keys to another primary, and wait until all nodes know that.

        Valkey 9 and Redis 8.4 move a slot at once. Older servers move its keys one by one.
        """
        source = self.primary_of_slot(slot)
        if atomically:
            words = ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", str(slot), str(slot), "NODE", self._ids[target])
            assert source.ask(*words) == ["OK"]
        else:
            assert target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self._ids[source]) == ["OK"]
            assert source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self._ids[target]) == ["OK"]
            while keys := source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "1"):
                source.ask("MIGRATE", "127.0.0.1", str(target.port), keys[0], "0", "1000")
            for node in (target, source, *self.nodes[:PRIMARIES]):
                node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", self._ids[target])
        self.wait_for_other_primary(slot, source)

    def stop(self) -> None:
        """Kill all processes."""
        for node in self.nodes:
            node.kill()


def _has_slot(text: str, slot: int) -> bool:
    first, _, last = text.partition("-")
    return first.isdigit() and int(first) <= slot <= int(last or first)


def _wait_for_reply(node: Node, reply: str, *command: str) -> None:
    """Send a command to a node until it gives this reply."""
    _wait(lambda: node.ask(*command) == [reply])


def _wait(condition: Callable[[], bool]) -> None:
    wait_until(condition, time.monotonic() + DEADLINE_S, "the nodes of the Cluster are not as expected in time")


@contextmanager
def running_cluster(folder: Path, *options: str) -> Iterator[ClusterSetup]:
    """Start a Cluster whose nodes have these options, and stop it at the end of the block."""
    setup = ClusterSetup(folder, *options)
    with ExitStack() as stack:
        stack.callback(setup.stop)
        setup.start()
        yield setup
