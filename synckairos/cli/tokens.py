"""Commands `synckairos tokens …`, which create and check tokens, `auth explain` and `config show`."""

import re
import sys
from uuid import UUID

import click

from synckairos.cli.command import CommandGroup, load_command_settings, run
from synckairos.cli.escaped_echo import echo
from synckairos.cli.exit_codes import ExitCode
from synckairos.errors import Forbidden, Unauthorized

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


def _parse_duration(_: click.Context, __: click.Parameter, text: str) -> int:
    """Return a duration such as `90`, `90s`, `15m`, `8h` or `7d` in seconds."""
    found = _DURATION.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is no duration such as 90s, 15m, 8h or 7d")
    return int(found[1]) * _UNITS[found[2] or "s"]


@click.group(cls=CommandGroup)
def tokens() -> None:
    """Create tokens, and check what a token allows."""


@tokens.command("create")
@click.option("--sub", "subject", required=True, metavar="SUBJECT", help="Name of the bearer (claim `sub`).")
@click.option("--role", metavar="ROLE", help="Highest role: viewer, participant, controller (default) or admin.")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="SESSIONS[@ROLE]",
    help="Sessions that the bearer can reach: an id, label:KEY=VALUE or '*'; repeatable.",
)
@click.option("--participant", "participant_id", metavar="UUID", help="Participant as which the bearer acts.")
@click.option(
    "--ttl",
    metavar="DURATION",
    callback=_parse_duration,
    default="1h",
    show_default=True,
    help="Duration until the token expires.",
)
@click.option("--jti", "token_id", metavar="ID", help="Id of the token, which a revocation can name.")
@click.option("--group", metavar="NAME", help="Group of the token, which a revocation can name.")
@click.option("--tenant", metavar="NAME", help="Tenant of the token. Default: the setting of the server.")
def tokens_create(
    subject: str,
    role: str | None,
    grants: tuple[str, ...],
    participant_id: str | None,
    ttl: int,
    token_id: str | None,
    group: str | None,
    tenant: str | None,
) -> None:
    """Print a new token, signed with JWT_SECRET."""
    settings = load_command_settings()
    from synckairos.admin.tokens import create_token

    try:
        click.echo(create_token(settings, subject, role, participant_id, grants, ttl, token_id, group, tenant))
    except (Unauthorized, Forbidden) as refusal:
        raise click.UsageError(refusal.message) from None


@tokens.command("check")
@click.argument("token")
def tokens_check(token: str) -> None:
    """Print what TOKEN allows, or the reason for its refusal. Exits 1 if it is refused.

    TOKEN can also be an API key, a session token or the secret of a link, which need the stores. If TOKEN is -, it is
    read from the standard input. Revocations are not looked up.
    """
    settings = load_command_settings()
    from synckairos.admin.tokens import describe_principal, describe_refusal, verify_token

    token = _read_token(token)
    try:
        principal = run(verify_token(settings, token))
    except (Unauthorized, Forbidden) as refusal:
        echo(f"refused with {refusal.code}: {describe_refusal(token, refusal)}")
        raise SystemExit(ExitCode.NEGATIVE) from None
    echo("\n".join(describe_principal(principal)))


@click.group(cls=CommandGroup)
def auth() -> None:
    """Explain decisions about rights."""


@auth.command("explain")
@click.option(
    "--token",
    required=True,
    envvar="SYNCKAIROS_TOKEN",
    show_envvar=True,
    help="Token of the caller. - reads it from the standard input.",
)
@click.option("--session", "session_id", required=True, metavar="ID", type=click.UUID, help="Id of the session.")
@click.option("--command", "verb", required=True, metavar="NAME", help="Command or other rule, such as switch or read.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of the session. Repeat it for each label."
)
def auth_explain(token: str, session_id: UUID, verb: str, labels: tuple[str, ...]) -> None:
    """Print the rule that decides on a command, and its result. Exits 1 if the caller is refused."""
    settings = load_command_settings()
    from synckairos.admin.tokens import describe_refusal, explain_access, verify_token, with_members

    token = _read_token(token)
    try:
        principal = run(verify_token(settings, token))
    except (Unauthorized, Forbidden) as refusal:
        echo(f"{'token':<12} refused with {refusal.status} {refusal.code}: {describe_refusal(token, refusal)}")
        raise SystemExit(ExitCode.NEGATIVE) from None
    parsed_labels = {key: value for key, _, value in (label.partition("=") for label in labels)}
    is_allowed, lines = run(explain_access(with_members(settings, principal), str(session_id), verb, parsed_labels))
    echo("\n".join(lines))
    if not is_allowed:
        raise SystemExit(ExitCode.NEGATIVE)


def _read_token(token: str) -> str:
    return sys.stdin.read().strip() if token == "-" else token  # noqa: S105 - not a password


@click.group("config", cls=CommandGroup)
def config_group() -> None:
    """Show the settings."""


@config_group.command("show")
def config_show() -> None:
    """Print each setting and its value in this environment. Secrets are redacted."""
    settings = load_command_settings()
    from synckairos.admin.tokens import show_settings

    echo("\n".join(show_settings(settings)))
