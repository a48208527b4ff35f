"""Settings of one process, from the environment and from a file if the caller names one.

No module of this package opens a connection, holds global state, or prints a value that could be a secret.
"""

from synckairos.config.environment_variables import PREFIX, UNPREFIXED, env_variables_of
from synckairos.config.loading import is_set, load, unknown_variables
from synckairos.config.reference_pages import render_env_example, render_settings_page
from synckairos.config.settings import BadSettings, Settings
from synckairos.config.value_types import LONGEST_S, OWN_SEGMENTS

__all__ = [
    "LONGEST_S",
    "OWN_SEGMENTS",
    "PREFIX",
    "UNPREFIXED",
    "BadSettings",
    "Settings",
    "env_variables_of",
    "is_set",
    "load",
    "render_env_example",
    "render_settings_page",
    "unknown_variables",
]
