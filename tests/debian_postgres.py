"""Debian's Postgres with TLS on a port of 127.0.0.1. The embedded Postgres was built without TLS."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import psycopg

from synckairos.embedded.data_dirs import wait_until
from synckairos.embedded.guarded_child import ChildProcess
from tests.certificates import Certificates
from tests.ports import free_port

START_TIMEOUT_S = 20.0


class DebianPostgres:
    """A running Postgres that refuses connections without TLS."""

    def __init__(self, port: int, certificates: Certificates) -> None:
        self.port = port
        self._authority = certificates.authority

    def url(self, database: str = "postgres", *, host: str = "localhost", authority: Path | None = None) -> str:
        """Return a URL that verifies the certificate and the host name, by this server's authority or another one."""
        root = quote(str(authority or self._authority), safe="")
        return f"postgresql://postgres@{host}:{self.port}/{database}?sslmode=verify-full&sslrootcert={root}"


def programs() -> Path:
    """Return the folder of the newest Postgres of Debian."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, "run .ci/tools: it installs postgresql"
    return found[-1].parent


@contextmanager
def running_debian_postgres(folder: Path, certificates: Certificates) -> Iterator[DebianPostgres]:
    """Run a new cluster in a folder that every user may enter."""
    folder.mkdir()
    account = None
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        account = (nobody.pw_uid, nobody.pw_gid)
    for name, path in (("server.crt", certificates.server), ("server.key", certificates.server_key)):
        shutil.copy(path, folder / name)
        (folder / name).chmod(0o600)
    for each in (folder, *folder.iterdir()):
        os.chown(each, *(account or (-1, -1)))
    uid, gid = account or (None, None)
    cluster = folder / "cluster"
    command: list[str | Path] = [
        programs() / "initdb",
        "-D",
        cluster,
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-sync",
    ]
    subprocess.run(
        command, user=uid, group=gid, env={"LC_ALL": "C", "PATH": os.defpath}, check=True, capture_output=True
    )
    (cluster / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    server = DebianPostgres(free_port(), certificates)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": server.port,
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": folder / "server.crt",
        "ssl_key_file": folder / "server.key",
        "fsync": "off",
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "postgres.log").open("ab") as output:
        child = ChildProcess(
            [programs() / "postgres", "-D", cluster, *arguments],
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdout=output,
            stderr=output,
            account=account,
        )
    try:
        wait_until(lambda: _answers(server), monotonic() + START_TIMEOUT_S, "Debian's Postgres does not answer")
        yield server
    finally:
        child.stop()


def _answers(server: DebianPostgres) -> bool:
    try:
        psycopg.connect(server.url()).close()
    except psycopg.OperationalError:
        return False
    return True
