"""The base class of all named errors, and the error of an unexpected fault."""

from typing import Any


class SyncKairosError(Exception):
    """Base class of all named errors.

    `code` is stable and public. `status` is the HTTP status in REST. `details` is a value that can be rendered as JSON,
    None if there are no details. `replayed` is True for a refusal from an idempotency record. `document` is the JSON of
    the version on which the refusal was decided, None if there is none.
    """

    code: str = "INTERNAL_ERROR"
    status: int = 500

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.replayed = False
        self.document: bytes | None = None


class InternalError(SyncKairosError):
    """An unexpected error. The caller receives only the fixed text of this class; the cause is logged."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side")
