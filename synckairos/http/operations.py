"""The table of REST operations, by method and path. Routing and the OpenAPI description both use it.

Because there is one table, the description lists exactly the operations that are served.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.wire.field_types import StrictModel

Handler = Callable[[RestRequest], Awaitable[RestResponse]]

_ROUTE_PARAMETERS = {
    "{session_id}": ":id",
    "{participant_id}": ":pid",
    "{webhook_id}": ":wid",
    "{delivery_id}": ":did",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One REST operation: how it is routed and handled, and what OpenAPI shows of it.

    `path` has its parameters in braces. `response_model` describes the JSON that is returned with `success_status`;
    `media_types` are the other forms of that response. `refusal_statuses` are the error statuses of this operation, in
    addition to those of all operations. An operation with an empty `summary` is not described. `is_rate_limited` is
    true if requests count against the general rate limit. `can_be_unready` is true for the readiness check, which
    also returns its JSON with status 503.
    """

    method: str
    path: str
    handle: Handler
    summary: str
    tag: str
    response_model: type[BaseModel] | None = None
    success_status: int = 200
    body_model: type[StrictModel] | None = None
    is_body_required: bool = False
    query_model: type[StrictModel] | None = None
    refusal_statuses: tuple[int, ...] = ()
    media_types: tuple[str, ...] = ()
    is_rate_limited: bool = True
    can_be_unready: bool = False

    @property
    def route(self) -> str:
        """Return the path as metrics and v2 write it: `/v1/sessions/:id`."""
        return "/".join(_ROUTE_PARAMETERS.get(segment, segment) for segment in self.path.split("/"))


_PARAMETER = "*"


class OperationTable:
    """Finds operations by path. A search costs one dictionary look-up for each segment of the path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root: dict[str, Any] = {}
        for operation in operations:
            node = self._root
            for segment in _segments(operation.path):
                node = node.setdefault(_PARAMETER if segment.startswith("{") else segment, {})
            names = tuple(s[1:-1] for s in _segments(operation.path) if s.startswith("{"))
            node.setdefault("", {})[operation.method] = (operation, names)

    def find(self, path: str) -> tuple[dict[str, tuple[Operation, tuple[str, ...]]], list[str]]:
        """Return the operations of a path, by method, with the names of their parameters, and the parameters' values.

        The table is empty if the path is unknown. A slash at the end of the path is ignored, as in v2.
        """
        node = self._root
        values: list[str] = []
        for segment in _segments(path):
            # An empty segment is refused: the key "" of a node holds its methods.
            if not segment:
                return {}, []
            found = node.get(segment) if segment != _PARAMETER else None
            if found is None:
                found = node.get(_PARAMETER)
                if found is None:
                    return {}, []
                values.append(segment)
            node = found
        return node.get("", {}), values

    def names_beside(self, path: str, method: str) -> list[str]:
        """Return the segments that `method` knows in place of the first unknown segment of a path, sorted."""
        node = self._root
        for segment in _segments(path):
            found = (node.get(segment) if segment not in ("", _PARAMETER) else None) or node.get(_PARAMETER)
            if found is None:
                break
            node = found
        return sorted(
            name for name, child in node.items() if name not in ("", _PARAMETER) and method in child.get("", {})
        )


def _segments(path: str) -> list[str]:
    return path.removesuffix("/").split("/")[1:]
