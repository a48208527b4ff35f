"""A real object store with the S3 protocol: OpenStack Swift, with its proxy and its three servers in one process.

Tests use Swift to write archives as in production. Swift checks signatures and keeps objects on disk. Tests can kill,
freeze and restart Swift. Only the process `python -m tests.object_store FOLDER PORT` imports Swift.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from synckairos.embedded.guarded_child import ChildProcess

KEY_ID, SECRET, REGION = "archive:keeper", "kept", "nowhere-1"


class ObjectStore:
    """A Swift store that is empty at first and keeps its port. `environ` has the variables for clients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._child: ChildProcess | None = None

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start Swift with the objects on its disk. Wait until Swift accepts requests."""
        argv = [sys.executable, "-W", "ignore", "-m", "tests.object_store", str(self._folder), str(self._port)]
        self._child = ChildProcess(argv, stdout=subprocess.PIPE)
        assert self._child.process.stdout is not None
        self._port = int(self._child.process.stdout.readline())

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze Swift inside the block: it accepts connections and never answers."""
        assert self._child is not None
        self._child.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._child.process.send_signal(signal.SIGCONT)

    async def make_bucket(self, name: str) -> None:
        url = obstore.sign(self._open(name), "PUT", "", timedelta(minutes=1))
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(url)).raise_for_status()

    async def paths(self, bucket: str) -> list[str]:
        """Return the paths of all objects in a bucket."""
        pages = [page async for page in obstore.list(self._open(bucket))]
        return sorted(each["path"] for page in pages for each in page)

    async def parts(self, bucket: str, path: str) -> int:
        """Return the number of parts in which an object was uploaded. The number is in the ETag of the object."""
        etag = (await obstore.head_async(self._open(bucket), path))["e_tag"]
        return int((etag or "").strip('"').partition("-")[2] or 1)

    def size_bytes(self) -> int:
        """Return the bytes of all objects on disk, including parts of unfinished uploads."""
        return sum(file.stat().st_size for file in self._folder.glob("disk/objects/**/*.data"))

    def _open(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self._url,
            region=REGION,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )


# -- the process ------------------------------------------------------------------------------------------------------

_SWIFT = """
[swift-hash]
swift_hash_path_suffix = tests
"""

_SERVER = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}
mount_check = false
[app:main]
use = egg:swift#{kind}
"""

_PROXY = f"""
[DEFAULT]
swift_dir = {{folder}}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {REGION}
[filter:tempauth]
use = egg:swift#tempauth
user_{KEY_ID.replace(":", "_")} = {SECRET} .admin
[filter:slo]
use = egg:swift#slo
"""


def serve(folder: Path, port: int) -> None:
    """Serve S3 from a folder until killed. Print the port when ready. Port 0 selects a free port."""
    import eventlet

    eventlet.monkey_patch()
    from eventlet import wsgi
    from swift.common import storage_policy, utils
    from swift.common.ring import RingBuilder
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    (folder / "disk").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(_SWIFT)
    utils.set_swift_dir(str(folder))
    storage_policy.reload_storage_policies()

    def run(kind: str, conf: str, port: int = 0) -> eventlet.greenio.GreenSocket:
        file = folder / f"{kind}.conf"
        file.write_text(conf.format(folder=folder, kind=kind))
        listener = eventlet.listen(("127.0.0.1", port))
        eventlet.spawn(wsgi.server, listener, loadapp(str(file)), log_output=False, protocol=SwiftHttpProtocol)
        return listener

    for kind in ("account", "container", "object"):
        at = {"ip": "127.0.0.1", "port": run(kind, _SERVER).getsockname()[1]}
        ring = RingBuilder(0, 1, 1)  # one partition, one copy
        ring.add_dev({**at, "region": 1, "zone": 1, "weight": 1, "device": "disk", "meta": ""})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))
    print(run("proxy", _PROXY, port).getsockname()[1], flush=True)
    eventlet.Event().wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
