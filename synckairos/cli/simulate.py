"""Command `synckairos simulate`, which runs a session in simulated time without a store."""

from typing import BinaryIO

import click

from synckairos.cli.progress import show_progress

MAX_FILE_BYTES = 16 << 20
"""Maximum bytes of a simulation. REST accepts a sixteenth of it."""


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: the member `data` of the response to POST /v1/simulate."
)
def simulate(file: BinaryIO, as_json: bool) -> None:
    """Simulate a session and print its timeline. FILE has the body of POST /v1/simulate; - reads standard input."""
    from synckairos.admin import simulation_text

    with show_progress("simulating") as display:
        text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise click.BadParameter(f"larger than {MAX_FILE_BYTES >> 20} MiB", param_hint="FILE")
        for line in simulation_text.simulate_to_lines(text, display.announce, as_json=as_json):
            is_refused = f"  {simulation_text.REFUSED}: " in line and not as_json
            display.echo(line, colour="yellow" if is_refused else None)
