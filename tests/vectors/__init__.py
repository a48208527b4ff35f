"""Test vectors that several implementations of one format share."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

_FILE = Path(__file__).parent / "document_splices.json"


class SpliceVector(NamedTuple):
    """One example of the format: `body` makes `after` of `before`, and `back` makes `before` of `after`."""

    before: bytes
    body: bytes
    after: bytes = b""
    back: bytes = b""


def splice_vectors(kind: str = "vectors") -> list[Any]:
    """Return the examples of document splices as pytest parameters; `kind` is `vectors` or `refused`."""
    parameters = []
    for members in orjson.loads(_FILE.read_bytes())[kind]:
        name = members.pop("name")
        vector = SpliceVector(**{member: text.encode() for member, text in members.items()})
        parameters.append(pytest.param(vector, id=name))
    return parameters
