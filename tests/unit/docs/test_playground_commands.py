"""The playground page has an example for each command."""

import re

from synckairos.http.page_files import page_folder
from synckairos.wire.command_bodies.table import COMMAND_BODIES


def test_the_playground_has_an_example_of_each_command() -> None:
    text = (page_folder("playground") / "commands.js").read_text()
    examples = text[text.index("return {") : text.index("};", text.index("return {"))]
    assert re.findall(r"(?m)^    (\w+): \{", examples) == list(COMMAND_BODIES)
