"""Check the metadata of the packages before a release: versions, changelogs, and the workflow that publishes them.

`make release-check` runs this program and builds the packages. Without arguments it checks all packages as drafts: a
changelog can say `unreleased`. With a tag such as `js-client-v1.2.0` it checks that package for this release.
"""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
WORKFLOW = ".github/workflows/publish.yml"


def _version_of_module(path: Path) -> str:
    found = re.search(r'^__version__ = "([^"]+)"', path.read_text(), re.MULTILINE)
    return found[1] if found else ""


def _version_of_npm(path: Path) -> str:
    version: str = json.loads(path.read_text())["version"]
    return version


@dataclass(frozen=True)
class Package:
    """A published package. `tag` is the begin of its tags. `read_version` reads the version from `version_file`."""

    tag: str
    version_file: str
    changelog: str
    read_version: Callable[[Path], str]


PACKAGES = (
    Package("server", "synckairos/__init__.py", "CHANGELOG.md", _version_of_module),
    Package(
        "python-client",
        "clients/python/synckairos_client/__init__.py",
        "clients/python/CHANGELOG.md",
        _version_of_module,
    ),
    Package("js-client", "clients/js/package.json", "clients/js/CHANGELOG.md", _version_of_npm),
)


def find_faults(root: Path, tag: str | None = None) -> list[str]:
    """Return the faults of all packages as drafts, or of the package of a tag for its release."""
    wanted = [each for each in PACKAGES if tag is None or tag.startswith(f"{each.tag}-v")]
    if not wanted:
        return [f"{tag}: tags are {', '.join(f'{each.tag}-v<version>' for each in PACKAGES)}"]
    return [fault for each in wanted for fault in _package_faults(root, each, tag)]


def _package_faults(root: Path, package: Package, tag: str | None) -> list[str]:
    faults = []
    version = package.read_version(root / package.version_file)
    if not SEMVER.fullmatch(version):
        faults.append(f"{package.version_file}: {version!r} is no version of SemVer")
    if tag is not None and tag != f"{package.tag}-v{version}":
        faults.append(f"{tag}: {package.version_file} has the version {version}")
    entry = re.search(
        r"^## \[([^\]]+)\] - (\S+)\n(.*?)(?=^## |\Z)", _read(root, package.changelog), re.MULTILINE | re.DOTALL
    )
    if entry is None or entry[1] != version:
        faults.append(f"{package.changelog}: the first entry is not that of {version}")
    elif not entry[3].strip():
        faults.append(f"{package.changelog}: the entry of {version} is empty")
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}" if tag else r"\d{4}-\d{2}-\d{2}|unreleased", entry[2]):
        faults.append(f"{package.changelog}: the entry of {version} has no date such as 2026-01-31")
    if f'"{package.tag}-v*"' not in _read(root, WORKFLOW):
        faults.append(f"{WORKFLOW}: no job publishes the tags of {package.tag}")
    if (
        tag is not None
        and package.version_file.endswith(".json")
        and '"private": true' in _read(root, package.version_file)
    ):
        faults.append(f"{package.version_file}: npm publishes no package with `private`")
    return faults


def _read(root: Path, path: str) -> str:
    file = root / path
    return file.read_text() if file.is_file() else ""


if __name__ == "__main__":
    found = find_faults(ROOT, *sys.argv[1:2])
    sys.stdout.write("".join(f"{fault}\n" for fault in found) or "The metadata of the packages is complete.\n")
    sys.exit(bool(found))
