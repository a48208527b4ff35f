"""Copy the pure modules of the server that the client needs into `synckairos_client/generated`.

The clock rules and the parsers of documents are written once, in `synckairos`. A copy differs from its source only in
its imports and in its values: they are dataclasses instead of `msgspec.Struct`, because the client depends on
`websockets` and `orjson` alone. A copy that would need another package is an error.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
SERVER = REPOSITORY / "synckairos"
TARGET = Path(__file__).resolve().parents[1] / "synckairos_client" / "generated"

ROOTS = (
    "synckairos.backoff",
    "synckairos.clock.budget",
    "synckairos.clock.expected_starts",
    "synckairos.clock.merge_patch",
    "synckairos.clock.model",
    "synckairos.clock.timing",
    "synckairos.clock.transition",
    "synckairos.wire.charges_json",
    "synckairos.wire.document_merge_patch",
    "synckairos.wire.instants",
    "synckairos.wire.session_parser",
)
"""Modules that the client imports. The modules that they import are copied too."""

REPLACED_IMPORTS = (
    ("from msgspec import Struct, field\n", "from dataclasses import dataclass, field\n"),
    ("from msgspec import Struct\n", "from dataclasses import dataclass\n"),
    ("from msgspec.structs import fields\n", "from dataclasses import fields\n"),
    ("from synckairos.frozen_replace import replace\n", "from dataclasses import replace\n"),
)

STRUCT = re.compile(r"^class (\w+)\((.*, )?Struct, frozen=True(, order=True)?(?:, gc=False)?\):$", re.MULTILINE)

PACKAGE_TEXT = '"""Copies of modules of the server, written by `make python-client`. Do not edit."""\n'

ALLOWED_PACKAGES = {*sys.stdlib_module_names, "orjson", "synckairos_client"}


class NotShareable(Exception):
    """A module of the server cannot be a part of the client."""


def render_shared_modules() -> dict[str, str]:
    """Return the copies by their path below `generated`, formatted by ruff.

    Raises: NotShareable if a copy would import a package that is no dependency of the client.
    """
    copies: dict[str, str] = {}
    missing = list(ROOTS)
    while missing:
        module = missing.pop()
        path = f"{module.removeprefix('synckairos.').replace('.', '/')}.py"
        if path not in copies:
            source = (SERVER / path).read_text()
            for old, new in REPLACED_IMPORTS:
                source = source.replace(old, new)
            missing += [name for name in imported_modules(source) if name.startswith("synckairos.")]
            copies[path] = copy_of(source, module)
    for folder in {path.rpartition("/")[0] for path in copies}:
        copies[f"{folder}/__init__.py".lstrip("/")] = PACKAGE_TEXT
    return {path: format_source(path, text) for path, text in sorted(copies.items())}


def copy_of(source: str, module: str) -> str:
    """Return the copy of a module of the server. `source` is its text with replaced imports."""
    source = STRUCT.sub(dataclass_head, source).replace("synckairos.", "synckairos_client.generated.")
    excess = {name.split(".")[0] for name in imported_modules(source)} - ALLOWED_PACKAGES
    if excess or "Struct" in source:
        raise NotShareable(f"{module} needs {', '.join(sorted(excess)) or 'another form of Struct'}")
    return f"# Generated from {module} by `make python-client`. Do not edit.\n{source}"


def dataclass_head(found: re.Match[str]) -> str:
    """Return the head of a dataclass for the head of a frozen `Struct`."""
    name, bases, order = found[1], (found[2] or "").removesuffix(", "), found[3] or ""
    return f"@dataclass(frozen=True{order}, slots=True)\nclass {name}{f'({bases})' if bases else ''}:"


def imported_modules(source: str) -> list[str]:
    """Return the names of the modules that a module imports.

    `from synckairos.wire import x` names `synckairos.wire.x`, because `wire` is a package.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            is_package = (REPOSITORY / node.module.replace(".", "/")).is_dir()
            names += [f"{node.module}.{alias.name}" if is_package else node.module for alias in node.names]
    return names


def format_source(path: str, text: str) -> str:
    """Return a module with sorted imports and in the format of the repository."""
    for arguments in (("check", "--quiet", "--select", "I", "--fix"), ("format", "--quiet")):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET / path), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    return text
