"""The lock files: each package has hashes, the image has the tested versions, and each licence is listed."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECTS = ("pyproject.toml", "clients/python/pyproject.toml")
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.lock"))
MARKERS_OF_LINUX = {"sys_platform": "linux", "platform_system": "Linux", "extra": ""}


def read_lock(name: str) -> dict[NormalizedName, tuple[Requirement, list[str]]]:
    """Return each requirement of a lock file with its hashes, by the name of the package."""
    found: dict[NormalizedName, tuple[Requirement, list[str]]] = {}
    for entry in (ROOT / "requirements" / name).read_text().replace(" \\\n", " ").splitlines():
        text, *hashes = re.split(r" +--hash=", entry)
        requirement = Requirement(text)
        found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


def dependencies(*extras: str) -> set[NormalizedName]:
    """Return the names of the packages that the distributions of this repository require, with some extras."""
    server, client = (tomllib.loads((ROOT / path).read_text())["project"] for path in PROJECTS)
    texts = [*server["dependencies"], *client["dependencies"]]
    texts += [each for extra in extras for each in server["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(text).name) for text in texts} - {server["name"], client["name"]}


def test_lock_files_are_those_of_the_five_environments() -> None:
    assert LOCKS == ["build.lock", "deployment.lock", "development.lock", "image.lock", "release.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_each_locked_package_has_one_version_and_hashes(name: str) -> None:
    lock = read_lock(name)
    assert lock
    for requirement, hashes in lock.values():
        assert re.fullmatch(r"==[0-9][^,*]*", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


def test_locks_have_every_dependency_of_the_project() -> None:
    assert dependencies() <= read_lock("image.lock").keys()
    assert dependencies("embedded", "otel", "sentry", "dev") <= read_lock("development.lock").keys()


@pytest.mark.parametrize("name", ["image.lock", "build.lock"])
def test_versions_of_the_image_are_the_tested_ones(name: str) -> None:
    tested = read_lock("development.lock")
    for package, (requirement, hashes) in read_lock(name).items():
        assert requirement.specifier == tested[package][0].specifier, package
        assert hashes == tested[package][1], package


def test_licences_page_lists_the_packages_of_the_image_with_a_known_licence() -> None:
    page = (ROOT / "docs" / "operate" / "licences.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in page.splitlines() if line.startswith("| ")]
    listed = {canonicalize_name(name): (version, licence) for name, version, licence in rows[1:]}
    on_linux = {
        package: requirement
        for package, (requirement, _) in read_lock("image.lock").items()
        if requirement.marker is None or requirement.marker.evaluate(MARKERS_OF_LINUX | {"python_version": "3.11"})
    }
    assert on_linux.keys() - listed.keys() <= {"async-timeout"}, "needed by the first releases of Python 3.11 only"
    for package, (version, licence) in listed.items():
        assert f"=={version}" == str(on_linux[package].specifier), package
        assert licence not in ("", "UNKNOWN"), package
