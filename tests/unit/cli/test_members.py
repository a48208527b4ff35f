"""Command line of `members reconcile`: its options."""

import pytest
from click.testing import CliRunner

from synckairos.cli import main


@pytest.mark.parametrize(
    "options",
    [(), ("--url", "--dry-run"), ("--url", __file__), ("--wait", __file__)],
    ids=["neither", "dry run of a job", "both", "wait for a file"],
)
def test_reconcile_with_contradicting_options_is_a_usage_error(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["members", "reconcile", *options])
    assert result.exit_code == 2
    assert "Give FILE" in result.stderr
