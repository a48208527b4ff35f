"""Problem responses, and the headers of rate limits."""

import orjson

from synckairos.errors import RateLimitExceeded, ReplayedRefusal, SessionNotFound, StoreUnavailable, VersionConflict
from synckairos.http.problem_responses import rate_limit_headers, render_internal_error, render_problem
from synckairos.store.rate_meter import RateLimitStatus


def test_problem_has_the_members_of_rfc_9457_and_of_v2() -> None:
    reply = render_problem(SessionNotFound("s"))
    assert (reply.status, reply.content_type) == (404, b"application/problem+json")
    assert orjson.loads(reply.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Session s not found",
        "error": {"code": "SESSION_NOT_FOUND", "message": "Session s not found"},
    }


def test_conflict_has_the_current_document() -> None:
    conflict = VersionConflict(1, 2)
    conflict.document = b'{"version":2}'
    details = orjson.loads(render_problem(conflict).body)["error"]["details"]
    assert details == {"expected_version": 1, "actual_version": 2, "state": {"version": 2}}
    again = ReplayedRefusal(conflict.code, conflict.status, conflict.message, conflict.details)
    again.document = conflict.document
    assert render_problem(again).body == render_problem(conflict).body
    assert (b"idempotency-replayed", b"true") in render_problem(again).headers


def test_refusal_with_a_wait_has_retry_after_of_at_least_one_second() -> None:
    assert (b"retry-after", b"1") in render_problem(StoreUnavailable()).headers
    assert (b"retry-after", b"42") in render_problem(RateLimitExceeded("limit", "SETTING", 41_001)).headers
    assert (b"retry-after", b"1") in render_problem(RateLimitExceeded("limit", "SETTING", 0)).headers


def test_internal_error_has_its_stack_only_in_dev_mode() -> None:
    try:
        raise RuntimeError("secret")
    except RuntimeError as failure:
        outside, inside = render_internal_error(failure, dev=False), render_internal_error(failure, dev=True)
    assert b"secret" not in outside.body
    assert orjson.loads(outside.body)["error"]["code"] == "INTERNAL_ERROR"
    assert "secret" in orjson.loads(inside.body)["error"]["stack"]


def test_rate_limit_headers_are_those_of_the_tightest_limit() -> None:
    general, switch = RateLimitStatus(100, 90, 30), RateLimitStatus(10, 3, 1)
    assert rate_limit_headers((general, switch)) == [
        (b"ratelimit-limit", b"10"),
        (b"ratelimit-remaining", b"3"),
        (b"ratelimit-reset", b"1"),
    ]
    assert rate_limit_headers((RateLimitStatus(100, 0, 30, exceeded=True), RateLimitStatus(10, 0, 1)))[0] == (
        b"ratelimit-limit",
        b"100",
    )
    assert rate_limit_headers(()) == []
