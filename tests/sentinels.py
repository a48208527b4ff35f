"""A primary with replicas and sentinels, all real processes of the embedded Valkey."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from redis import Connection
from redis.exceptions import RedisError

from synckairos.embedded.data_dirs import wait_until
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.embedded.valkey import valkey_binary
from tests.ports import free_port

SERVICE = "clock-store"
DEADLINE_S = 30.0


class Node:
    """One process of a Valkey with its own folder: a server or a sentinel."""

    def __init__(self, folder: Path, *options: str, is_sentinel: bool = False) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._is_sentinel = is_sentinel
        self._config = folder / "valkey.conf"
        self._config.write_text(
            "\n".join([f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", "protected-mode no", *options])
        )
        self.start()

    def start(self) -> None:
        """Start the process with the configuration that its predecessor left."""
        with (self._folder / "log").open("ab") as log:
            mode = ("--sentinel",) if self._is_sentinel else ()
            self._child = ChildProcess([valkey_binary(), self._config, *mode], stdout=log, stderr=log)

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash would."""
        self._child.kill()

    def suspend(self) -> None:
        """Stop the process by SIGSTOP. It keeps its connections and answers nothing."""
        self._child.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the suspended process."""
        self._child.process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> list[str]:
        """Send one command on a new connection. Return the items or the lines of the reply.

        The list is empty if the process does not answer.
        """
        connection = Connection("127.0.0.1", self.port, socket_timeout=2, socket_connect_timeout=2)
        try:
            connection.send_command(*words)
            reply = connection.read_response()
        except (RedisError, OSError):
            return []
        finally:
            connection.disconnect()
        return reply.decode().split("\r\n") if isinstance(reply, bytes) else [item.decode() for item in reply]


class SentinelSetup:
    """A primary, two replicas and three sentinels. Two sentinels decide about a failover."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers: list[Node] = []
        self.sentinels: list[Node] = []

    @property
    def url(self) -> str:
        """The URL of the service."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{node.port}' for node in self.sentinels)}/{SERVICE}/0"

    def start(self) -> None:
        """Start all processes. Wait until each sentinel knows the other sentinels and both replicas."""
        options = ("appendonly yes", 'save ""', "maxmemory-policy noeviction", "repl-diskless-sync-delay 0")
        primary = Node(self._folder / "server-0", *options)
        self.servers.append(primary)
        for number in (1, 2):
            replica = Node(self._folder / f"server-{number}", *options, f"replicaof 127.0.0.1 {primary.port}")
            self.servers.append(replica)
        for replica in self.servers[1:]:
            _wait(partial(_follows, replica, primary))
        for number in range(3):
            sentinel = Node(
                self._folder / f"sentinel-{number}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
                f"sentinel down-after-milliseconds {SERVICE} 1000",
                f"sentinel failover-timeout {SERVICE} 5000",
                is_sentinel=True,
            )
            self.sentinels.append(sentinel)
        for sentinel in self.sentinels:
            _wait(partial(self._knows_all, sentinel))

    @staticmethod
    def _knows_all(sentinel: Node) -> bool:
        fields = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        known = dict(zip(fields[::2], fields[1::2], strict=False))
        return (known.get("num-other-sentinels"), known.get("num-slaves")) == ("2", "2")

    def primary(self) -> Node:
        """Return the server that the first sentinel names as the primary."""
        [_, port] = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.servers if node.port == int(port))

    def wait_for_other_primary(self, former: Node) -> Node:
        """Wait until the first sentinel names another primary than `former`, and return it."""
        _wait(lambda: self.primary() is not former)
        return self.primary()

    def wait_until_replica(self, node: Node) -> None:
        """Wait until a server is a replica. Until then, a former primary accepts commands, which are lost."""
        _wait(lambda: "role:slave" in node.ask("INFO", "replication"))

    def wait_for_replicas(self) -> None:
        """Wait until both other servers are replicas of the primary, and all sentinels know each other."""
        primary = self.primary()
        for node in self.servers:
            if node is not primary:
                _wait(partial(_follows, node, primary))
        for sentinel in self.sentinels:
            _wait(partial(self._knows_all, sentinel))

    def stop(self) -> None:
        """Kill all processes."""
        for node in [*self.sentinels, *self.servers]:
            node.kill()


def _wait(condition: Callable[[], bool]) -> None:
    wait_until(condition, time.monotonic() + DEADLINE_S, "the sentinels or servers are not as expected in time")


def _follows(replica: Node, primary: Node) -> bool:
    fields = replica.ask("INFO", "replication")
    return f"master_port:{primary.port}" in fields and "master_link_status:up" in fields


@contextmanager
def running_sentinels(folder: Path) -> Iterator[SentinelSetup]:
    """Start a primary, replicas and sentinels, and stop them at the end of the block."""
    setup = SentinelSetup(folder)
    with ExitStack() as stack:
        stack.callback(setup.stop)
        setup.start()
        yield setup
