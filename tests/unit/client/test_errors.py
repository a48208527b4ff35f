"""Close codes and HTTP statuses: which are permanent errors, and after which the client reconnects."""

import pytest

from synckairos_client.errors import error_for_close, error_for_http_status


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1011, 1012, 4000, 4001, 4002, 4499, 4504, 4510])
def test_temporary_close_code_is_not_an_error(code: int) -> None:
    assert error_for_close(code, "") is None


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (4500, "CONNECTION_ENDED"),
        (4501, "UNAUTHORIZED"),
        (4503, "FORBIDDEN"),
        (4513, "PAYLOAD_TOO_LARGE"),
        (4520, "TOO_MANY_CONNECTIONS"),
        (4999, "CONNECTION_ENDED"),
    ],
)
def test_permanent_close_code_is_an_error_with_the_reason(code: int, name: str) -> None:
    failure = error_for_close(code, "because")
    assert failure is not None
    assert failure.code == name
    assert "because" in failure.message


@pytest.mark.parametrize(
    ("status", "name"),
    [(403, "FORBIDDEN"), (404, "CONNECTION_ENDED"), (429, None), (500, None), (503, None)],
)
def test_refused_handshake_is_an_error_unless_temporary(status: int, name: str | None) -> None:
    failure = error_for_http_status(status)
    assert (failure and failure.code) == name
