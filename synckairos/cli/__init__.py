"""Command line: one module for each group of commands. Packages `admin` and `process` implement the commands.

A command imports its implementation when it runs. Therefore `--help` is fast, and `worker` does not import the web
server.
"""

import click

from synckairos import __version__
from synckairos.cli.audit import audit, verify_audit
from synckairos.cli.import_v2 import import_v2
from synckairos.cli.jobs import jobs
from synckairos.cli.keys import keys
from synckairos.cli.links import console, links
from synckairos.cli.main_group import MainGroup
from synckairos.cli.members import members
from synckairos.cli.presets import presets
from synckairos.cli.processes import dev, doctor, migrate, serve, worker
from synckairos.cli.revocations import revocations
from synckairos.cli.session_watch import session
from synckairos.cli.simulate import simulate
from synckairos.cli.size import size
from synckairos.cli.store import store
from synckairos.cli.tenants import operator_keys, tenants
from synckairos.cli.tokens import auth, config_group, tokens
from synckairos.cli.webhooks import webhooks

__all__ = ["main"]


@click.group(
    cls=MainGroup,
    sections={
        "To try the product": (dev, presets, simulate, session),
        "To run the product": (serve, worker, migrate, import_v2, doctor, config_group, size, tokens, auth),
        "To maintain the product": (audit, verify_audit, jobs, webhooks, store),
        "To give access": (keys, links, console, members, revocations, tenants, operator_keys),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="synckairos")
def main() -> None:
    """State server for timed, shared sessions."""
