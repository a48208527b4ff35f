"""Path of the folder with the documentation, for a checkout and for an installed package."""

from pathlib import Path


def documentation_dir() -> Path:
    """Return the path of the folder `docs`.

    In a checkout the folder is at the top of the repository. In an installed package it is inside the package (see
    pyproject.toml).
    """
    package = Path(__file__).parents[2]
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"
