"""Measurements of the tests without a mutant, which are kept for the next run over the same sources."""

import pickle
import sys
from hashlib import sha256

from tests.mutants.mutant import ROOT

Place = tuple[str, str]
"""The file of a module and the qualified name of an outermost function."""

Measurements = tuple[list[float], dict[Place, set[int]]]
"""The seconds of each test, in the order of collection, and the positions of the tests that call each function."""

SOURCES = ("synckairos/**/*.py", "tests/unit/**/*.py", "tests/mutants/*.py", "docs/reference/*.md")
"""Patterns of the files on which the results of the tests depend."""

FILE = ROOT / ".pytest_cache" / "mutants.pickle"


def load_measurements(tests: list[str]) -> Measurements | None:
    """Return the kept measurements of these tests. None if there are none, or if a source or a test has changed."""
    try:
        fingerprint, measurements = pickle.loads(FILE.read_bytes())
    except FileNotFoundError:
        return None
    found: Measurements = measurements
    return found if fingerprint == _fingerprint(tests) else None


def save_measurements(tests: list[str], measurements: Measurements) -> None:
    """Keep the measurements of these tests."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_bytes(pickle.dumps((_fingerprint(tests), measurements)))


def _fingerprint(tests: list[str]) -> str:
    digest = sha256(repr((sys.version, tests)).encode())
    for path in sorted(each for pattern in SOURCES for each in ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
