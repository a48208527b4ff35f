"""Errors of reconciliations, as administrators of a tenant see them."""

import pytest

from synckairos.jobs.public_errors import error_without_details


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("A row is invalid", "A row is invalid"),
        ("The source has rows of another tenant: line 3", "The source has rows of another tenant: line 3"),
        (
            'OperationalError: connection to server at "10.0.0.7", port 5432 failed',
            "OperationalError; the log of the worker has the details",
        ),
    ],
)
def test_texts_of_libraries_are_not_shown(stored: str, shown: str) -> None:
    assert error_without_details(stored) == shown
