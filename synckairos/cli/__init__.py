"""The commands, a file for each audience. Each reads its settings, sets the log up and hands over; none does the work.

What a command runs is imported when it runs, so that `--help` is quick and `worker` needs no web server.
"""

import click

from synckairos import __version__
from synckairos.cli.audit import audit, verify_audit
from synckairos.cli.command import Commands
from synckairos.cli.jobs import jobs
from synckairos.cli.play import session, simulate
from synckairos.cli.processes import dev, doctor, migrate, serve, worker
from synckairos.cli.webhooks import webhooks

__all__ = ["main"]


@click.group(
    cls=Commands,
    sections={
        "To try it": (dev, simulate, session),
        "To run it": (serve, worker, migrate, doctor),
        "To look after it": (audit, verify_audit, jobs, webhooks),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="synckairos")
def main() -> None:
    """State server for timed, shared sessions."""
