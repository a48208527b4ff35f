"""The table of exit codes: every code has a meaning, and every code of an error in it exists."""

from collections.abc import Iterator

import synckairos_client
from synckairos.cli import exit_codes
from synckairos.cli.exit_codes import ExitCode, exit_code_of
from synckairos.errors import StoreUnavailable, SyncKairosError, ValidationFailed
from tests.package_modules import import_all_modules

ErrorClass = type[SyncKairosError] | type[synckairos_client.SyncKairosError]


def subclasses(kind: ErrorClass) -> Iterator[ErrorClass]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


def test_every_exit_code_has_a_meaning() -> None:
    assert [int(code) for code, _ in exit_codes.exit_code_rows()] == list(ExitCode)
    assert all(meaning for _, meaning in exit_codes.exit_code_rows())


def test_every_error_of_the_table_exists() -> None:
    import_all_modules()
    codes = {each.code for base in (SyncKairosError, synckairos_client.SyncKairosError) for each in subclasses(base)}
    assert set(exit_codes._BY_CODE) - codes == set()


def test_error_that_is_not_in_the_table_is_a_negative_result() -> None:
    assert exit_code_of(SyncKairosError("text")) == ExitCode.NEGATIVE
    assert exit_code_of(StoreUnavailable()) == ExitCode.UNAVAILABLE
    assert exit_code_of(ValidationFailed.at_path("path", "text")) == ExitCode.USAGE
