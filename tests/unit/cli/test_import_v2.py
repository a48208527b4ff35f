"""Options of `import-v2`: invalid combinations are refused before a store is opened."""

import pytest
from click.testing import CliRunner

from synckairos.cli import main

URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "Give --redis with the URL of v2's Redis, or --finish."),
        (["--follow"], "Give --redis with the URL of v2's Redis, or --finish."),
        (["--follow", "--finish"], "Give --follow with --redis, and without --finish."),
        (["--redis", URL, "--follow", "--finish"], "Give --follow with --redis, and without --finish."),
        (["--redis", URL, "--prefix", ""], "--prefix must not be empty."),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["import-v2", *options])
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, f"Error: {text}")
