"""Path of the folder with the migration files, for a checkout and for an installed package."""

from pathlib import Path


def migrations_dir() -> Path:
    """Return the path of the folder with the `NNNN_name.sql` files.

    In a checkout the folder is at the top of the repository. In an installed package it is inside the package (see
    pyproject.toml).
    """
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
