"""`.env.example` is what `synckairos.config` renders. `make env` writes it."""

from pathlib import Path

from synckairos import config
from synckairos.config import Settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"


def test_file_is_rendered_from_the_settings() -> None:
    assert EXAMPLE.read_text() == config.render_env_example(), "stale: run `make env`"


def test_file_has_every_variable_below_its_description() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for field, info in Settings.model_fields.items():
        place = next(n for n, line in enumerate(lines) if line.startswith(f"#{config.env_variables_of(field)[-1]}="))
        assert info.description
        assert lines[place - 1] == f"# {info.description}"


def test_values_of_the_file_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(EXAMPLE.read_text().replace("\n#", "\n").replace("\n ", "\n# "))
    assert config.load(file) == config.load()
