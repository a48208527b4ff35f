"""`.env.example` says what `config.py` says: `make env` writes it anew."""

from pathlib import Path

from synckairos import config
from synckairos.config import Settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"


def test_it_is_what_the_settings_say() -> None:
    assert EXAMPLE.read_text() == config.render_example(), "stale: run `make env`"


def test_it_names_every_variable_with_a_line_of_meaning() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for field, info in Settings.model_fields.items():
        place = next(n for n, line in enumerate(lines) if line.startswith(f"#{config.variables(field)[-1]}="))
        assert info.description
        assert lines[place - 1] == f"# {info.description}"


def test_its_values_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(EXAMPLE.read_text().replace("\n#", "\n").replace("\n ", "\n# "))
    assert config.load(file) == config.load()
