"""The page on the life of a credential: its close codes, figures and commands are those of the code."""

import re
import shlex

import click
import pytest

from synckairos.cli import main
from synckairos.config import Settings
from synckairos.errors import Forbidden
from synckairos.identity import jwks_keys
from synckairos.identity.token_claims import LEEWAY_MS
from synckairos.realtime import v2_connection, v3_sign_in
from synckairos.realtime.sign_in import REFRESH_INTERVAL_S
from synckairos.realtime.v2_connection import V2Connection
from synckairos.realtime.v3_connection import V3Connection
from synckairos.revocations.channel import STALE_AFTER_S
from synckairos.revocations.credential_ends import MAX_AGE_SPREAD, WARN_BEFORE_S, EndReason
from tests.unit.docs.pages import DOCUMENTS, code_blocks, code_words, table_after

PAGE = (DOCUMENTS / "guides" / "credential-life.md").read_text()
TEXT = " ".join(PAGE.split())

V3_ENDS = [
    *(V3Connection.codes.credential_ends[each] for each in EndReason),
    v3_sign_in.IDENTITY_CHANGED,
    v3_sign_in.NOT_AUTHENTICATED,
    v3_sign_in.UNDECIDED,
]
V2_ENDS = [
    *(V2Connection.codes.credential_ends[each] for each in EndReason),
    v2_connection.NO_CREDENTIAL,
    v2_connection.FORBIDDEN,
]


def closes(column: str) -> set[tuple[int, str]]:
    """Return the close codes and reasons of a column in the table of ends."""
    cells = [row[column] for row in table_after(PAGE, "## Ends")]
    return {(int(cell[:4]), code_words(cell)[0]) for cell in cells if cell[:4].isdigit()}


def test_table_of_ends_has_each_close_code_and_reason_of_a_credential() -> None:
    assert closes("`synckairos.v3`") == set(V3_ENDS)
    assert closes("v2 dialect") == set(V2_ENDS)
    last = table_after(PAGE, "## Ends")[-1]
    assert code_words(last["`synckairos.v3`"]) == ["UNSUBSCRIBED", Forbidden.code]


def test_close_code_says_whether_a_client_can_connect_again() -> None:
    for row in table_after(PAGE, "## Ends"):
        code = row["`synckairos.v3`"][:4]
        if code.isdigit():
            is_for_good = row["the same token again"] in ("401", "403") and code != "4005"
            assert (int(code) >= 4_500) == (is_for_good or "REFRESH" in row["cause"]), row


def default_h(field: str) -> int:
    """Return the default of a setting in hours."""
    return int(Settings.model_fields[field].default) // 3_600


@pytest.mark.parametrize(
    "sentence",
    [
        f"{WARN_BEFORE_S:g} s before the end, the server sends `REAUTH`",
        f"try again after {REFRESH_INTERVAL_S:g} s",
        f"accepted for {LEEWAY_MS // 1000} s more",
        f"could not compare its revocations for {STALE_AFTER_S:g} s",
        f"`SYNCKAIROS_WS_MAX_AGE` ({default_h('ws_max_age')} h) ± {MAX_AGE_SPREAD * 100:g} %",
        f"`SYNCKAIROS_JWT_MAX_TTL` ({default_h('jwt_max_ttl')} h)",
        f"sign with it after {jwks_keys.REFRESH_S / 60:g} minutes",
        f"Its sockets end {jwks_keys.CONFIRM_S:g} s later",
        f"a fetch, at most one in {jwks_keys.UNKNOWN_KEY_REFRESH_S:g} s",
        f"The last key set serves for {jwks_keys.MAX_AGE_S / 3_600:g} hours",
    ],
)
def test_figure_is_that_of_the_code(sentence: str) -> None:
    assert sentence in TEXT


def test_each_command_of_the_page_has_its_options() -> None:
    lines = [line for block in code_blocks(PAGE, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(synckairos [^`]+)`", PAGE)
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = main
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        with command.make_context(None, words):
            pass
