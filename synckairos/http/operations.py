"""The table of operations: what can be asked for, by method and path, and all that its description needs.

Routing and OpenAPI read the same table, so neither can say what the other doesn't.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from synckairos.http.request import RestRequest, RestResponse
from synckairos.wire.field_types import StrictModel

Handler = Callable[[RestRequest], Awaitable[RestResponse]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    `path` holds parameters in braces. `answer` is the model of the JSON that comes back with `status`, `media_types`
    other forms it may take; `refusals` are the statuses of its own errors, beside those that any operation has.
    `limited` says that it counts against the rate limits.
    """

    method: str
    path: str
    handle: Handler
    summary: str
    tag: str
    answer: type[BaseModel] | None = None
    status: int = 200
    body: type[StrictModel] | None = None
    body_required: bool = False
    query: type[StrictModel] | None = None
    refusals: tuple[int, ...] = ()
    media_types: tuple[str, ...] = ()
    limited: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def route(self) -> str:
        """Return the path as metrics name it, v2's way: `/v1/sessions/:id`."""
        names = {"{session_id}": ":id", "{participant_id}": ":pid", "{webhook_id}": ":wid", "{delivery_id}": ":did"}
        return "/".join(names.get(segment, segment) for segment in self.path.split("/"))


PARAMETER = "*"


class OperationTable:
    """Operations by path and method. Finding one costs a dictionary look-up a segment."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._root: dict[str, Any] = {}
        for operation in self.operations:
            node = self._root
            for segment in _segments(operation.path):
                node = node.setdefault(PARAMETER if segment.startswith("{") else segment, {})
            names = tuple(s[1:-1] for s in _segments(operation.path) if s.startswith("{"))
            node.setdefault("", {})[operation.method] = (operation, names)

    def find(self, path: str) -> tuple[dict[str, tuple[Operation, tuple[str, ...]]], list[str]]:
        """Return the operations of a path by method, and the texts of its parameters; nothing where it is unknown.

        A slash at the end says nothing, as in v2.
        """
        node = self._root
        texts: list[str] = []
        for segment in _segments(path):
            # The methods stand under the one name no segment has.
            if not segment:
                return {}, []
            found = node.get(segment) if segment != PARAMETER else None
            if found is None:
                found = node.get(PARAMETER)
                if found is None:
                    return {}, []
                texts.append(segment)
            node = found
        return node.get("", {}), texts


def _segments(path: str) -> list[str]:
    return path.removesuffix("/").split("/")[1:]
