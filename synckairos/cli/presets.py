"""Commands `synckairos presets …`, which show the presets of this release. They need neither stores nor settings."""

import click
import orjson

from synckairos.cli.command import CommandGroup, json_option
from synckairos.cli.escaped_echo import echo


@click.group(cls=CommandGroup)
def presets() -> None:
    """Show presets: complete sessions of known games and formats."""


@presets.command("list")
@json_option("preset")
def presets_list(as_json: bool) -> None:
    """List the presets by name, with their titles."""
    from synckairos.presets.catalogue import load_presets

    found = load_presets()
    width = max(map(len, found))
    for preset in found.values():
        echo(orjson.dumps(preset.summary()).decode() if as_json else f"{preset.name:<{width}}  {preset.title}")


@presets.command("show")
@click.argument("name")
def presets_show(name: str) -> None:
    """Show preset NAME as JSON, with its session."""
    from synckairos.presets.catalogue import load_presets, unknown_preset_text

    preset = load_presets().get(name)
    if preset is None:
        raise click.BadParameter(unknown_preset_text(name), param_hint="NAME")
    echo(orjson.dumps(preset.as_json(), option=orjson.OPT_INDENT_2).decode())
