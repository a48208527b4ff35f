"""Check of problem responses, for tests of REST."""

import httpx

from synckairos.wire.response_models import Problem


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Check the form of a problem response. Return its status and its code."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = Problem.model_validate_json(answer.content)
    assert "stack" not in answer.json()["error"]
    return answer.status_code, problem.error.code
