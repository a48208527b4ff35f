"""The page of sockets lists every message and every close code of both dialects."""

import re
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from synckairos.http import api_examples
from synckairos.wire import socket_message_models, v2_messages, v3_messages
from synckairos.wire.close_code_docs import V2_CLOSE_CODES, V3_CLOSE_CODES
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from tests.unit.docs.pages import Row, code_blocks, code_words, read_page, table_after, tables

PAGE = read_page("sockets.md")


def types_of(models: tuple[type[BaseModel], ...]) -> list[str]:
    return [model.model_json_schema()["properties"]["type"]["const"] for model in models]


def column(dialect: str, name: str) -> list[str]:
    """Return the first words of a column in the tables after a dialect's heading."""
    _, _, section = PAGE.partition(f"\n## {dialect}\n")
    (table,) = (each for each in tables(section.partition("\n## ")[0]) if name in each[0])
    return [code_words(row[name])[0] for row in table]


@pytest.mark.parametrize(
    ("dialect", "name", "types"),
    [
        ("`synckairos.v3`", "client sends", list(v3_messages.CLIENT_MESSAGES)),
        ("`synckairos.v3`", "server sends", types_of(socket_message_models.V3_SERVER_MESSAGES)),
        ("The v2 dialect", "client sends", [str(each) for each in v2_messages.V2ClientMessage]),
        ("The v2 dialect", "server sends", types_of(socket_message_models.V2_SERVER_MESSAGES)),
    ],
)
def test_page_lists_each_message_of_a_dialect(dialect: str, name: str, types: list[str]) -> None:
    assert column(dialect, name) == types


def test_page_lists_each_close_code() -> None:
    both = {"v2": V2_CLOSE_CODES, "v3": V3_CLOSE_CODES}
    rows = table_after(PAGE, "## Close codes")
    listed = {(row["code"], each) for row in rows for each in (both if row["dialect"] == "both" else [row["dialect"]])}
    assert listed == {(str(code), dialect) for dialect, codes in both.items() for code in codes}
    assert len(rows) == len({row["code"] for row in rows})


def test_close_codes_of_v3_say_by_their_number_if_a_client_reconnects() -> None:
    def says(row: Row) -> str:
        code = int(row["code"])
        return {4: "yes" if code < 4_500 else "no"}.get(code // 1000, row["reconnect"])

    assert all(row["reconnect"] == says(row) for row in table_after(PAGE, "## Close codes"))


def test_page_names_the_commands_that_have_no_verb_in_rest() -> None:
    (sentence,) = re.findall(r"`command` is the REST verb, or ([^.]+)\.", PAGE)
    assert code_words(sentence) == [verb for verb in COMMAND_BODIES if "_" in verb or verb == "delete"]


def test_examples_have_the_members_of_their_messages() -> None:
    examples = api_examples.v3_message_examples()
    decoder = re.compile(r"^(?=\{)", re.MULTILINE)
    for block in code_blocks(PAGE, "json"):
        for text in filter(None, decoder.split(block)):
            message: dict[str, Any] = orjson.loads(text)
            if "session_id" in message:
                assert set(message) <= set(examples[message["type"]]), message
