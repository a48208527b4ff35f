"""Servers with the Redis protocol and the options of one test: Debian's Redis 7.0, and the embedded Valkey."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from synckairos.embedded.data_dirs import wait_until
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.embedded.valkey import valkey_binary
from tests.certificates import Certificates
from tests.ports import free_port

START_TIMEOUT_S = 10.0


def redis_binary(folder: Path) -> Path:
    """Return the path of a Redis server program: REDIS_SERVER if it is set, otherwise Debian's program.

    Debian's package redis-server starts a service. The package redis-tools contains the same program under another
    name, and the program acts by its name. The returned path can therefore be a link in `folder`.
    """
    if found := os.environ.get("REDIS_SERVER") or shutil.which("redis-server"):
        return Path(found)
    program = shutil.which("redis-check-rdb")
    assert program is not None, "run .ci/tools: it installs redis-tools"
    link = folder / "redis-server"
    link.symlink_to(program)
    return link


class RedisServer:
    """One server on a separate port of loopback and on a unix socket. It keeps its data over restarts."""

    def __init__(self, folder: Path, binary: Path, *, certificates: Certificates | None = None) -> None:
        """Prepare a server in an empty folder. With `certificates`, the port requires TLS and a client certificate."""
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.port = free_port()
        self._binary = binary
        self._certificates = certificates
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Start the server, and wait until it has loaded its data."""
        options: dict[str, object] = {
            "bind": "127.0.0.1 -::1",
            "port": self.port,
            "unixsocket": self.socket,
            "aclfile": self.folder / "users.acl",
            "dir": self.folder,
            "appendonly": "yes",
            "save": "",
        }
        if (files := self._certificates) is not None:
            tls = {"port": 0, "tls-port": self.port, "tls-ca-cert-file": files.authority}
            options |= tls | {"tls-cert-file": files.server, "tls-key-file": files.server_key}
        (self.folder / "users.acl").touch()
        with (self.folder / "redis.log").open("ab") as output:
            self._child = ChildProcess([self._binary, *_arguments(options)], stdout=output, stderr=output)
        wait_until(self._answers, monotonic() + START_TIMEOUT_S, "the server does not answer")

    def stop(self) -> None:
        """Stop the server. Its data is on disk when this method returns."""
        if self._child is not None:
            self._child.stop()

    def restart(self) -> None:
        """Stop the server, and start it again with its data."""
        self.stop()
        self.start()

    def admin(self) -> Redis:
        """Return a client with all permissions, through the unix socket."""
        return Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def _answers(self) -> bool:
        try:
            with self.admin() as client:
                return bool(client.ping())
        except (RedisConnectionError, ResponseError):
            return False


@contextmanager
def running_valkey(folder: Path) -> Iterator[RedisServer]:
    """Run the embedded Valkey, which was built without TLS."""
    with _running(RedisServer(folder, valkey_binary())) as server:
        yield server


@contextmanager
def running_redis(folder: Path, certificates: Certificates | None = None) -> Iterator[RedisServer]:
    """Run Redis 7.0, with TLS if there are certificates."""
    with _running(RedisServer(folder, redis_binary(folder), certificates=certificates)) as server:
        yield server


@contextmanager
def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _arguments(options: Mapping[str, object]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", *(str(value).split(" ")))]
