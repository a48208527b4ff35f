"""Loading of the settings from the environment and from a file, with a readable message for each fault.

A message never contains a value that could be a secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from synckairos.config.environment_variables import PREFIX, env_variables_of
from synckairos.config.settings import BadSettings, Settings

VARIABLES_OF_COMMANDS = frozenset({f"{PREFIX}TOKEN"})
"""Variables that are no settings of a process: commands of a client read them as options."""


def load(env_file: Path | None = None, **overrides: Any) -> Settings:
    """Load and check the settings of this process.

    For each field, the first of these sources that has the field is used: `overrides` (by field name), the environment,
    the file `env_file`. Fields without a source have their defaults. `env_file` is ignored if it is None or the file
    does not exist.

    Raises: BadSettings, whose message has one line for each fault.
    """
    try:
        settings = Settings(**{**_from_file(env_file), **overrides})
    except ValidationError as error:
        raise BadSettings("\n".join(_faults(error))) from None
    if settings.database_pool_min > settings.database_pool_max:
        raise BadSettings(
            f"DATABASE_POOL_MIN: {settings.database_pool_min} is more than "
            f"DATABASE_POOL_MAX, {settings.database_pool_max}"
        )
    if len(settings.members_tenants) > 1 and settings.members_url and "{tenant}" not in settings.members_url:
        raise BadSettings(f"{PREFIX}MEMBERS_URL: should have {{tenant}}, because {PREFIX}MEMBERS_TENANTS has several")
    return settings


def is_set(settings: Settings, field: str) -> bool:
    """Return whether `field` has its value from a source of `load`, not from its default.

    A value that is equal to the default but comes from a source also counts as set.
    """
    return field in settings.model_fields_set


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the variables in `environ` that start with `SYNCKAIROS_` but are not settings, sorted.

    Such variables are most likely misspelled.
    """
    known = {name for field in Settings.model_fields for name in env_variables_of(field)} | VARIABLES_OF_COMMANDS
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _from_file(env_file: Path | None) -> dict[str, str]:
    """Return the values in the file for all fields that the environment does not set, by field name.

    The file and the environment can use each of the names of a field.
    """
    if env_file is None or not env_file.is_file():
        return {}
    try:
        values = dotenv_values(env_file)
    except UnicodeDecodeError:
        raise BadSettings(f"{env_file}: should be UTF-8") from None
    found: dict[str, str] = {}
    for field in Settings.model_fields:
        names = env_variables_of(field)
        if any(os.environ.get(name) for name in names):
            continue
        if value := next((values[name] for name in names if values.get(name)), None):
            found[field] = value
    return found


def _faults(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        if fault["type"] == "default_factory_not_called":
            continue  # a consequence of another fault in the same list
        name = str(fault["loc"][0])
        field = name.removeprefix(PREFIX).lower()
        # If the environment does not set the field, the value is from the file, most likely under the name in
        # .env.example.
        shown = next((each for each in env_variables_of(field) if os.environ.get(each)), env_variables_of(field)[-1])
        # URLs can contain passwords, so the message shows no value of a URL or a secret.
        is_secret = field.endswith(("_url", "_secret", "_dsn", "_secret_previous", "_key", "_token")) or field == "jwks"
        given = "" if is_secret else f", not {fault['input']!r}"
        if field == "jwks" and len(fault["loc"]) > 2:
            given = f" ({'.'.join(str(each) for each in fault['loc'][1:])})"
        lines.append(f"{shown}: {_fault_text(fault['type'], fault['msg'], fault.get('ctx', {}))}{given}")
    return lines


def _fault_text(kind: str, text: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "int_parsing" | "int_parsing_size" | "int_from_float":
            return "should be a whole number"
        case "float_parsing":
            return "should be a number"
        case "bool_parsing":
            return "should be true or false"
        case "greater_than_equal":
            return f"should be at least {context['ge']:.15g}"
        case "greater_than":
            return f"should be more than {context['gt']:.15g}"
        case "less_than_equal":
            return f"should be at most {context['le']:.15g}"
        case "literal_error":
            return f"should be {context['expected']}"
        case _:
            text = text.removeprefix("Value error, ").removeprefix("Input ")
            return f"{text[:1].lower()}{text[1:]}"
