"""PgBouncer in transaction mode, as Debian packages it, in front of a Postgres of the tests."""

import os
import pwd
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs, quote, urlsplit

from synckairos.embedded import Postgres
from synckairos.embedded.data_dirs import wait_until
from synckairos.embedded.guarded_child import ChildProcess
from tests.certificates import Certificates
from tests.databases import SERVING_LOGIN
from tests.ports import free_port

START_TIMEOUT_S = 10.0
LOGINS = ("postgres", SERVING_LOGIN)


class PgBouncer:
    """One PgBouncer on a port of 127.0.0.1. It serves every database of its Postgres, without passwords."""

    def __init__(self, postgres_url: str, child: ChildProcess, port: int, certificates: Certificates | None) -> None:
        self.child = child
        self.port = port
        self._certificates = certificates
        self._postgres_url = postgres_url

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the process until the block ends. Meanwhile it accepts connections and answers nothing."""
        os.kill(self.child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.child.pid, signal.SIGCONT)

    def url(self, direct_url: str) -> str:
        """Return the URL that leads to the same database and login through the pooler."""
        parts = urlsplit(direct_url)
        role = parts.username or "postgres"
        files = self._certificates
        tls = "" if files is None else f"?sslmode=verify-full&sslrootcert={quote(str(files.authority), safe='')}"
        return f"postgresql://{role}@{'127.0.0.1' if files is None else 'localhost'}:{self.port}{parts.path}{tls}"


def pgbouncer_binary() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    assert found is not None, "run .ci/tools: it installs pgbouncer"
    return found


@contextmanager
def running_pgbouncer(
    folder: Path, postgres: Postgres, certificates: Certificates | None = None
) -> Iterator[PgBouncer]:
    """Run a PgBouncer with the defaults of its package, apart from the pool mode. With certificates it wants TLS."""
    (socket_folder,) = parse_qs(urlsplit(postgres.url).query)["host"]
    port = free_port()
    folder.mkdir(exist_ok=True)
    (folder / "users.txt").write_text("".join(f'"{login}" ""\n' for login in LOGINS))
    tls: dict[str, object] = {}
    if certificates is not None:
        for name, path in (("cert", certificates.server), ("key", certificates.server_key)):
            tls[f"client_tls_{name}_file"] = shutil.copy(path, folder)
        tls["client_tls_sslmode"] = "require"
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users.txt",
        "pool_mode": "transaction",
        "max_client_conn": 500,
        "logfile": folder / "pgbouncer.log",
        **tls,
    }
    lines = [f"{name} = {value}" for name, value in options.items()]
    (folder / "pgbouncer.ini").write_text(
        "\n".join(["[databases]", f"* = host={socket_folder} port=5432", "[pgbouncer]", *lines, ""])
    )
    account = _account_for(folder)
    with (folder / "output.log").open("ab") as output:
        child = ChildProcess(
            [pgbouncer_binary(), folder / "pgbouncer.ini"], stdout=output, stderr=output, account=account
        )
    try:
        wait_until(lambda: _accepts(port), monotonic() + START_TIMEOUT_S, "PgBouncer does not listen")
        yield PgBouncer(postgres.url, child, port, certificates)
    finally:
        child.stop()


def _account_for(folder: Path) -> tuple[int, int] | None:
    """Let the user nobody read and write the folder if we are root, because PgBouncer and Postgres refuse root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid, nobody.pw_gid


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
