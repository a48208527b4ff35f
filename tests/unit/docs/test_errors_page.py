"""The page of errors lists every code that a caller can get, with its status, and no other."""

from collections.abc import Iterator

import synckairos_client
from synckairos import errors
from synckairos.errors import SyncKairosError
from synckairos_client import errors as client_errors
from tests.package_modules import import_all_modules
from tests.unit.docs.pages import code_words, read_page, table_after

PAGE = read_page("errors.md")

OF_COMMANDS = {
    "BAD_AUDIT", "BAD_MIGRATIONS", "BAD_SETTINGS", "BAD_SIMULATION", "EMBEDDED_STORE_FAILED", "ENTRIES_SET_ASIDE",
    "IMPORTS_FAILED", "IMPORT_REFUSED", "IMPORT_RUNNING", "MEMBER_SOURCE_INCOMPLETE",
    "MEMBER_SOURCE_REFUSED", "NOT_DELIVERED", "NO_SUCH_ENTRY", "NO_SUCH_JOB", "PORT_TAKEN", "PRIVILEGE_MISSING",
    "STORE_MISMATCH", "TAKEOVER_REFUSED",
}  # fmt: skip
"""Errors that end a command of the command line, which prints their message alone."""

INSIDE = {
    "ARCHIVE_SPACE_FULL", "ENDPOINT_REFUSED", "INCOMPLETE", "JOB_REFUSED", "NOT_FINISHED", "PARTITION_TAKEN",
    "ROWS_REFUSED", "STAYS",
}  # fmt: skip
"""Errors that one part of a server or worker raises for another: no answer has their code."""


OF_CLIENT = {synckairos_client.SyncKairosError.code}
"""Code of the base class of the client's errors, which no error has."""


def every_error() -> Iterator[type[SyncKairosError]]:
    """Yield every error class of the server."""
    import_all_modules()
    waiting: list[type[SyncKairosError]] = [SyncKairosError]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += found.__subclasses__()


def listed(heading: str) -> list[str]:
    return [code_words(row["code"])[0] for row in table_after(PAGE, heading)]


def test_page_lists_every_code_of_the_package_that_reaches_a_caller() -> None:
    codes = {each.code for each in every_error() if each.__module__.startswith("synckairos.")}
    of_client = {each.code for each in vars(client_errors).values() if hasattr(each, "code")}
    pages = listed("## Codes") + listed("## Codes of the Python client")
    assert sorted(pages) == sorted((codes | of_client) - OF_COMMANDS - INSIDE - OF_CLIENT)


def test_page_lists_every_code_of_the_module_of_errors() -> None:
    own = {each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SyncKairosError)}
    assert own - OF_COMMANDS <= set(listed("## Codes"))


def test_page_gives_each_code_its_status() -> None:
    statuses = {each.code: each.status for each in every_error()}
    for row in table_after(PAGE, "## Codes"):
        (code,) = code_words(row["code"])
        assert int(row["status"]) == statuses[code], code
        assert row["when"]
        assert row["remedy"]


def test_codes_are_in_the_order_of_their_status() -> None:
    statuses = [int(row["status"]) for row in table_after(PAGE, "## Codes")]
    assert statuses == sorted(statuses)
