"""Allow-lists of imports for the two pure packages. import-linter knows deny-lists only, which miss new libraries."""

import ast
from pathlib import Path

import pytest

import synckairos

PACKAGE = Path(synckairos.__file__).parent

ALLOWED = {
    "clock": {
        "bisect", "collections", "dataclasses", "enum", "itertools", "json", "msgspec", "operator", "re", "typing",
        "synckairos.clock", "synckairos.errors", "synckairos.frozen_replace",
    },
    "wire": {
        "collections", "csv", "dataclasses", "datetime", "enum", "functools", "hashlib", "http", "importlib", "io",
        "itertools", "json", "math", "msgspec", "operator", "orjson", "pydantic", "pydantic_core", "re", "typing",
        "urllib", "zlib", "zoneinfo",
        "synckairos.clock", "synckairos.errors", "synckairos.frozen_replace", "synckairos.session_names",
        "synckairos.wire",
    },
}  # fmt: skip


def imported_by(path: Path) -> set[str]:
    """Return the names a module imports: two parts of our own (`synckairos.wire`), one of a library (`re`)."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {".".join(name.split(".")[: 2 if name.startswith("synckairos") else 1]) for name in names}


@pytest.mark.parametrize("package", ALLOWED)
def test_pure_package_imports_only_its_allow_list(package: str) -> None:
    modules = sorted((PACKAGE / package).rglob("*.py"))
    assert len(modules) > 10
    excess = {str(path.relative_to(PACKAGE)): imported_by(path) - ALLOWED[package] for path in modules}
    assert {path: names for path, names in excess.items() if names} == {}


def test_package_has_at_most_five_loose_modules() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert loose == {"backoff", "frozen_replace", "principal", "session_names"}


def test_only_the_pool_of_postgres_takes_connections_out_of_it() -> None:
    """All other packages run transactions of the pool, which set their settings (decision 11)."""
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "postgres"]
    found = {
        f"{path.relative_to(PACKAGE)}: {node.attr}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("connection", "getconn")
        and "pool" in ast.unparse(node.value).lower()
    }
    assert found == set()
