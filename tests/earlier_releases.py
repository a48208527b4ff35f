"""Earlier releases of this product as source trees, for tests in which two releases use the same stores.

A tree comes from the history of this repository. It runs with the installed packages of this checkout, so a release is
usable as long as it needs no other packages.
"""

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from synckairos.config import Settings
from tests.processes import Process

ROOT = Path(__file__).parents[1]

_NEEDED = ("synckairos", "migrations", "clients/python")
"""Parts of a tree that its server, its worker and its commands need."""


class Release(NamedTuple):
    """A release: its commit, and what this commit does not have yet."""

    commit: str
    description: str


BEFORE_STORE_FORMAT = Release(
    "836f5504cf3a0694b7714ff20adf58ef8c7a1e9c", "the last commit without a number of the store's format"
)
WITH_LINKS = Release("cacccaa3f7e734e9c7c638bc5f62c2b9fe416fd5", "the last commit without bounds for links of links")
BEFORE_TENANTS = Release("fe12705922ff0a6613414b159ba03d6d6f5f2b06", "the last commit without tenants in the stores")


class EarlierRelease:
    """The source tree of an earlier release in a folder."""

    def __init__(self, release: Release, folder: Path) -> None:
        """Write the tree of a release to `folder`, which must not exist.

        Raises: AssertionError if this clone does not have the commit.
        """
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", release.commit, *_NEEDED], capture_output=True, check=False
        )
        assert archive.returncode == 0, (
            f"This test runs the release {release.commit} ({release.description}). Git cannot read this commit:"
            f" {archive.stderr.decode().strip()}. In a shallow clone, run `git fetch --unshallow` first"
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tree:
            tree.extractall(folder, filter="data")
        self.tree = folder

    def process(self, *args: str, settings: Settings) -> Process:
        """Start `synckairos` of this release with arguments. It ignores settings that it does not know."""
        path = f"{self.tree}:{self.tree / 'clients/python'}"
        return Process(
            *args,
            env={**settings.to_environment_variables(), "PYTHONPATH": path},
            cwd=self.tree,
            # -P: the folder of the process is not needed to find the package, PYTHONPATH has it.
            command=(sys.executable, "-P", "-m", "synckairos"),
        )
