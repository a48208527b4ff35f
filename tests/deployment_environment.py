"""The environment `build/deployment`, which has the programs and packages that only the tests of `deploy/` need."""

from pathlib import Path

PROGRAMS = Path(__file__).parents[1] / "build" / "deployment" / "bin"
"""The folder of its Python and its programs, such as Traefik. `make test` installs them."""

PYTHON = PROGRAMS / "python"
