"""Output of commands shows control characters in texts of callers and does not send them to the terminal."""

import pytest

from synckairos.cli.escaped_echo import echo


def test_description_of_a_webhook_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo("id  https://example.org  \x1b]0;title\x07\x9b2J")
    assert capsys.readouterr().out == "id  https://example.org  \\u001b]0;title\\u0007\\u009b2J\n"
