"""Rendering of `.env.example` and of the page of settings, from the settings."""

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from synckairos.config.environment_variables import PREFIX, env_variable_text, env_variables_of
from synckairos.config.settings import Settings

SETTINGS_PAGE = """\
# Settings

Every setting is an environment variable. `make env` renders this page and [`.env.example`](../../.env.example) from the
settings in the code, and a test keeps both current.

- A name without the prefix `SYNCKAIROS_` also works with it. If both are set, the prefixed name wins.
- An empty value counts as unset.
- Only `synckairos dev` reads the file `.env`. All other commands read the environment alone.
- The items of a list are separated by commas.
- A process with a wrong value does not start. The process prints one line for each wrong variable.
- `synckairos doctor` also names each variable that starts with `SYNCKAIROS_` but is not a setting.
- `--host`, `--port` and `--insecure` of `serve` and `dev` override the variables of the same names.
- `DATABASE_POOL_MIN` must not exceed `DATABASE_POOL_MAX`.

The page [limits](limits.md) lists the bounds that no setting changes.

| variable | default | values | meaning |
|---|---|---|---|
{rows}
"""


def render_env_example() -> str:
    """Return the text of `.env.example`: each variable with its default and one line of meaning."""
    lines = [
        "# Every setting with its default. Only `synckairos dev` reads .env. Other commands read only the environment.",
        f"# Names without {PREFIX} also work with this prefix. If both are set, the prefixed name wins.",
    ]
    for field, info in Settings.model_fields.items():
        default = None if info.default_factory or info.default is None else info.default
        text = "" if default is None else env_variable_text(default)
        lines += ["", f"# {info.description}", f"#{env_variables_of(field)[-1]}={text}"]
    return "\n".join(lines) + "\n"


def render_settings_page() -> str:
    """Return the text of `docs/reference/settings.md`: one row for each variable, with default, values and meaning."""
    rows = []
    for field, info in Settings.model_fields.items():
        default = None if info.default_factory or info.default is None else env_variable_text(info.default)
        cells = (f"`{env_variables_of(field)[-1]}`", f"`{default}`" if default else "", _allowed_values(field, info))
        meaning = (info.description or "").replace("<", "&lt;").replace("|", "\\|")
        rows.append(f"| {' | '.join(cells)} | {meaning} |")
    return SETTINGS_PAGE.format(rows="\n".join(rows))


def _allowed_values(field: str, info: FieldInfo) -> str:
    """Return a text for the values of a setting: its choices, its bounds if it is a number, or else its type."""
    kind = info.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if kind in (int, float):
        word = "whole number" if kind is int else "number"
        bounds = [f"{sign} {bound:,}" for each in info.metadata for sign, bound in _bounds(each)]
        return f"{word} {' and '.join(bounds)}"
    if field == "jwks":
        return "JSON list"
    if get_origin(kind) is list:
        return "list"
    return "URL" if field.endswith("_url") else "text"


def _bounds(constraint: object) -> Iterator[tuple[str, float]]:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤")):
        if (bound := getattr(constraint, name, None)) is not None:
            yield sign, bound
