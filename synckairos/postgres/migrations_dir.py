"""Path of the folder with the migration files, in a checkout and in an installed package. No other module knows it."""

from pathlib import Path


def migrations_dir() -> Path:
    """Return the folder of the `NNNN_name.sql` files.

    In a checkout it is at the top of the repository. A wheel has it inside the package (see pyproject.toml).
    """
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
