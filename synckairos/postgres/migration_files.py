"""Where files that are not code live, in a checkout and in an installed package alike. The one place that knows."""

from pathlib import Path


def migrations_dir() -> Path:
    """Find the folder of `NNNN_name.sql` files.

    In a checkout it stands at the top of the repository; a wheel carries it inside the package (see pyproject.toml).
    """
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
