"""`synckairos presets` lists the presets and shows one."""

import orjson
from click.testing import CliRunner

from synckairos.cli import main
from synckairos.cli.exit_codes import ExitCode
from synckairos.presets.catalogue import load_presets


def test_list_prints_a_line_for_each_preset() -> None:
    lines = CliRunner().invoke(main, ["presets", "list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(load_presets())
    text = CliRunner().invoke(main, ["presets", "list", "--json"]).stdout
    assert [orjson.loads(line) for line in text.splitlines()] == [each.summary() for each in load_presets().values()]


def test_show_prints_the_preset_as_json() -> None:
    result = CliRunner().invoke(main, ["presets", "show", "debate/wsdc"])
    assert orjson.loads(result.stdout) == load_presets()["debate/wsdc"].as_json()


def test_show_of_an_unknown_preset_suggests_names() -> None:
    result = CliRunner().invoke(main, ["presets", "show", "wsdc"])
    assert result.exit_code == ExitCode.USAGE
    assert "did you mean debate/wsdc?" in result.stderr
