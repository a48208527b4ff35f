"""Command line of `revocations create`: its selectors."""

import pytest
from click.testing import CliRunner

from synckairos.cli import main


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Give exactly one of --jti"),
        (("--jti", "a", "--all"), "Give exactly one of --jti"),
        (("--grp", "a", "--issued-before", "2026-01-31"), "--issued-before needs --subject or --all"),
    ],
)
def test_create_with_wrong_selectors_is_a_usage_error(args: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(main, ["revocations", "create", *args])
    assert result.exit_code == 2
    assert message in result.stderr
