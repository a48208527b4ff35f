"""Loader for files of named SQL statements.

The line `-- name: the_name` begins a statement. The comments below that line describe the statement.
"""

import re
from functools import cache
from importlib import resources

from synckairos.postgres.metrics import name_statements

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load_statements(file: str, package: str) -> dict[str, bytes]:
    """Return the statements of the file `file` in the package `package`, by name.

    The file is read once in a process.
    """
    text = resources.files(package).joinpath(file).read_text()
    parts = _NAME.split(text)
    statements = {name: body.strip().encode() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    name_statements(file, statements)
    return statements
