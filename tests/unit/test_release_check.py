"""The check before a release: the repository passes as a draft, and each fault of the metadata is found."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    *("synckairos/__init__.py", "CHANGELOG.md", "clients/python/synckairos_client/__init__.py"),
    *("clients/python/CHANGELOG.md", "clients/js/package.json", "clients/js/CHANGELOG.md"),
    ".github/workflows/publish.yml",
)


@pytest.fixture(scope="module")
def program() -> Any:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / ".ci" / "release_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the files that the check reads."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def test_repository_is_complete_as_a_draft(program: Any) -> None:
    assert program.find_faults(ROOT) == []


def test_release_needs_a_date_the_version_of_the_tag_and_a_public_package(program: Any, copy: Path) -> None:
    version = json.loads((copy / "clients/js/package.json").read_text())["version"]
    tag = f"js-client-v{version}"
    assert program.find_faults(copy, tag) == [
        f"clients/js/CHANGELOG.md: the entry of {version} has no date such as 2026-01-31",
        "clients/js/package.json: npm publishes no package with `private`",
    ]
    edit(copy, "clients/js/CHANGELOG.md", "- unreleased", "- 2026-12-01")
    edit(copy, "clients/js/package.json", '  "private": true,\n', "")
    assert program.find_faults(copy, tag) == []
    assert program.find_faults(copy, "js-client-v9.9.9") == [
        f"js-client-v9.9.9: clients/js/package.json has the version {version}"
    ]
    assert program.find_faults(copy, "v1") == [
        "v1: tags are server-v<version>, python-client-v<version>, js-client-v<version>"
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("clients/js/CHANGELOG.md", "## [0.1.0] - unreleased", "## [0.0.9] - unreleased", "is not that of 0.1.0"),
        ("CHANGELOG.md", "- unreleased", "- soon", "has no date"),
        ("clients/js/package.json", '"version": "0.1.0"', '"version": "0.1"', "no version of SemVer"),
        (".github/workflows/publish.yml", '"python-client-v*"', '"python-v*"', "no job publishes the tags of python"),
    ],
)
def test_fault_of_a_draft_is_found(program: Any, copy: Path, name: str, old: str, new: str, fault: str) -> None:
    edit(copy, name, old, new)
    assert any(fault in each for each in program.find_faults(copy))
