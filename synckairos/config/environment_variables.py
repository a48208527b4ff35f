"""Names of the environment variables that set the fields of the settings, and their texts."""

import json

from pydantic import SecretStr

PREFIX = "SYNCKAIROS_"

# The variables of these settings also work without the prefix, as in v2. If both variables are set, the variable with
# the prefix wins.
UNPREFIXED = frozenset(
    {
        "port",
        "redis_url",
        "database_url",
        "database_direct_url",
        "queue_redis_url",
        "database_pool_min",
        "database_pool_max",
        "jwt_secret",
        "jwt_secret_previous",
        "log_level",
        "rate_limit_general",
        "rate_limit_switch",
    }
)


def env_variables_of(field: str) -> tuple[str, ...]:
    """Return the names of the environment variables that set `field`, the one with the highest priority first."""
    prefixed = PREFIX + field.upper()
    return (prefixed, field.upper()) if field in UNPREFIXED else (prefixed,)


def env_variable_text(value: object) -> str:
    """Return the text to which an environment variable must be set for this value of a field.

    The text of a secret is the secret itself.
    """
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return "true" if value else "false"
        case [dict(), *_]:
            return json.dumps(value)
        case list():
            return ",".join(str(item) for item in value)
        case float():
            return str(value).removesuffix(".0")
        case _:
            return str(value)
