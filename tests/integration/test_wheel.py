"""What is installed elsewhere holds everything that is needed there."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from synckairos.resources import migrations_dir

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_holds_all_that_is_not_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    assert "synckairos/py.typed" in names
    for file in (ROOT / "synckairos").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert str(file.relative_to(ROOT)) in names
    migrations = sorted((ROOT / "migrations").glob("*.sql"))
    assert {f"synckairos/migrations/{file.name}" for file in migrations} <= names

    # Installed, the same question finds the copy.
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = "from synckairos.resources import migrations_dir; print(migrations_dir())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "installed", check=True, capture_output=True, text=True
    ).stdout.strip()
    if migrations:
        assert Path(told) == tmp_path / "installed" / "synckairos" / "migrations"
    assert migrations_dir() == ROOT / "migrations"
