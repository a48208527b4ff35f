"""Table of REST operations, by method and path, for routing and for the OpenAPI description.

Routing and description use the same `Operation` objects. The description therefore lists only operations that the
instance serves: all operations except those without a summary.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.wire.field_types import StrictModel

Handler = Callable[[RestRequest], Coroutine[Any, Any, RestResponse]]

_ROUTE_PARAMETERS = {
    "{session_id}": ":id",
    "{participant_id}": ":pid",
    "{webhook_id}": ":wid",
    "{delivery_id}": ":did",
    "{signing_key_id}": ":kid",
    "{tenant}": ":tenant",
    "{key_id}": ":key",
    "{link_id}": ":link",
    "{job_id}": ":job",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One REST operation, for routing and for the OpenAPI description.

    - `path`: the path with its parameters in braces.
    - `verb`: the name of the access rule. A name without a rule raises KeyError when the operation is created.
    - `handle`: the function that handles a request.
    - `summary` and `tag`: texts of OpenAPI. An operation with an empty `summary` is not in the description.
    - `response_model`: model of the JSON response with `success_status`. None if the description has no such model.
    - `other_body_models`: models of other forms of the body, for the description alone.
    - `media_types`: more media types. A type that ends with `+json` is a type of the request, in addition to JSON. Each
      other type is a type of the response with `success_status`, in addition to the JSON of `response_model`.
    - `refusal_statuses`: error statuses of this operation, in addition to the error statuses of all operations.
    - `is_rate_limited`: whether requests count against the general rate limit.
    - `is_administrative`: whether the access log gets an entry if a caller with a credential executes the operation.
    - `can_be_unready`: whether a response with status 503 also has the JSON of `response_model`. True for `/ready`.
    """

    method: str
    path: str
    verb: str
    handle: Handler
    summary: str
    tag: str
    response_model: type[BaseModel] | None = None
    success_status: int = 200
    body_model: type[StrictModel] | None = None
    other_body_models: tuple[type[StrictModel], ...] = ()
    is_body_required: bool = False
    query_model: type[StrictModel] | None = None
    refusal_statuses: tuple[int, ...] = ()
    media_types: tuple[str, ...] = ()
    is_rate_limited: bool = True
    is_administrative: bool = False
    can_be_unready: bool = False

    def __post_init__(self) -> None:
        ACCESS_RULES[self.verb]

    @property
    def route_label(self) -> str:
        """Return the path in the form of v2 and of metric labels, such as `/v1/sessions/:id`."""
        return _route_label(self.path)


@cache
def _route_label(path: str) -> str:
    # Each request has a label, and there are few paths.
    return "/".join(_ROUTE_PARAMETERS.get(segment, segment) for segment in path.split("/"))


_PARAMETER = "*"


class OperationTable:
    """Search tree of operations by path. A search takes one dictionary look-up for each segment of the path."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root: dict[str, Any] = {}
        for operation in operations:
            node = self._root
            for segment in _segments(operation.path):
                node = node.setdefault(_PARAMETER if segment.startswith("{") else segment, {})
            names = tuple(s[1:-1] for s in _segments(operation.path) if s.startswith("{"))
            node.setdefault("", {})[operation.method] = (operation, names)

    def find(self, path: str) -> tuple[dict[str, tuple[Operation, tuple[str, ...]]], list[str]]:
        """Return the operations at a path by HTTP method, and the values of the path's parameters.

        Each operation comes with the names of its parameters. Names and values have the order of the path. The
        dictionary is empty if no operation has this path. One slash at the end of the path is ignored.
        """
        node = self._root
        values: list[str] = []
        for segment in _segments(path):
            # Refuse an empty segment, because the key "" of a node has the operations of its path.
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

    def valid_sibling_names(self, path: str, method: str) -> list[str]:
        """Return, sorted, the names that would be valid in place of the first unknown segment of `path`.

        A name is valid if the path up to and including this name is the complete path of an operation with the HTTP
        method `method`.
        """
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
