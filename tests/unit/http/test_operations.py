"""Table of REST operations: search by path and method, and the route in metrics."""

from synckairos.http.operations import Operation, OperationTable
from synckairos.http.request_response import RestRequest, RestResponse


async def respond(request: RestRequest) -> RestResponse:
    return RestResponse()


def operation(method: str, path: str) -> Operation:
    return Operation(method, path, "page", respond, "", "")


def test_operations_are_found_by_path_and_method() -> None:
    table = OperationTable(
        [
            operation("GET", "/v1/sessions"),
            operation("POST", "/v1/sessions"),
            operation("GET", "/v1/sessions/{session_id}"),
            operation("DELETE", "/v1/sessions/{session_id}/participants/{participant_id}"),
        ]
    )
    assert set(table.find("/v1/sessions")[0]) == {"GET", "POST"}
    methods, values = table.find("/v1/sessions/abc")
    assert (methods["GET"][1], values) == (("session_id",), ["abc"])
    methods, values = table.find("/v1/sessions/abc/participants/def")
    assert (methods["DELETE"][1], values) == (("session_id", "participant_id"), ["abc", "def"])
    methods, values = table.find("/v1/sessions/abc/")  # a slash at the end is accepted, as in v2
    assert (methods["GET"][1], values) == (("session_id",), ["abc"])
    for unknown in (
        "",
        "/",
        "/v1",
        "/v1/sessions/a/b",
        "/v1/sessions/a/participants",
        "/v1/sessions/a//",
        "/v1//",
        "/v1/*",
    ):
        assert table.find(unknown)[0] == {}, unknown


def test_names_beside_an_unknown_segment_are_those_of_the_method() -> None:
    table = OperationTable(
        [
            operation("GET", "/v1/sessions"),
            operation("GET", "/v1/sessions/{session_id}"),
            operation("GET", "/v1/sessions/{session_id}/events"),
            operation("POST", "/v1/sessions/{session_id}/start"),
            operation("POST", "/v1/sessions/{session_id}/pause"),
        ]
    )
    assert table.valid_sibling_names("/v1/sessions/abc/foo", "POST") == ["pause", "start"]
    assert table.valid_sibling_names("/v1/sessions/abc/foo/bar", "POST") == ["pause", "start"]
    assert table.valid_sibling_names("/v1/sessions/abc//", "GET") == ["events"]
    assert table.valid_sibling_names("/v1/sessions/abc/start/foo", "POST") == []
    assert table.valid_sibling_names("/v1/nope", "GET") == ["sessions"]
    assert table.valid_sibling_names("/nope", "GET") == []


def test_route_has_the_parameter_names_of_v2() -> None:
    path = "/v1/sessions/{session_id}/participants/{participant_id}"
    assert operation("GET", path).route_label == "/v1/sessions/:id/participants/:pid"
