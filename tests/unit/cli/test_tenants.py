"""Command `synckairos tenants delete`: without a confirmation it contacts no store."""

from click.testing import CliRunner

from synckairos.cli.tenants import tenants


def test_deletion_without_a_confirmation_is_aborted() -> None:
    result = CliRunner().invoke(tenants, ["delete", "acme"], input="n\n")
    assert result.exit_code == 1
    assert "Delete tenant acme with all its sessions, archives and credentials? [y/N]: n" in result.output
    assert "Aborted!" in result.output
