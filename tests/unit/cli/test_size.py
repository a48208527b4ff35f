"""`synckairos size` calculates what a load needs. It agrees with the example of docs/capacity.md."""

import orjson
import pytest
from click.testing import CliRunner

from synckairos.cli import main
from synckairos.cli.exit_codes import ExitCode
from tests.unit.docs.pages import DOCUMENTS, code_blocks


def test_example_of_the_page_is_the_output_of_the_command() -> None:
    (example,) = code_blocks((DOCUMENTS / "capacity.md").read_text(), "text")
    command, _, output = example.partition("\n")
    result = CliRunner().invoke(main, command.removeprefix("$ synckairos ").split())
    assert result.exit_code == 0
    assert result.stdout.strip() == output.strip()


def calculate(*options: str) -> dict[str, float]:
    result = CliRunner().invoke(main, ["size", "--sessions", "1000", "--switches", "10000", *options, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, float] = orjson.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("options", "name", "factor"),
    [
        (("--watchers", "2000"), "instance_cores", 1.4),
        (("--processor-factor", "2"), "redis_cores", 2),
        (("--retention", "60"), "postgres_bytes", 2),
        (("--outage", "120"), "outbox_bytes", 2),
        (("--new-sessions", "0"), "redis_bytes", 0.5),
        (("--no-command-ids",), "redis_bytes", 0.069),
        (("--participants", "20"), "postgres_bytes_per_day", 1.22),
    ],
    ids=["watchers", "processor", "retention", "outage", "long sessions", "no command ids", "participants"],
)
def test_option_changes_the_result_as_much_as_expected(options: tuple[str, ...], name: str, factor: float) -> None:
    assert calculate(*options)[name] == pytest.approx(calculate()[name] * factor, rel=0.05)


def test_small_load_has_two_instances_and_two_workers_so_that_one_can_fail() -> None:
    found = calculate("--switches", "10")
    assert (found["instances"], found["workers"], found["redis_nodes"]) == (2, 2, 1)


@pytest.mark.parametrize("options", [[], ["--sessions", "0", "--switches", "1"], ["--sessions", "1"]])
def test_missing_or_impossible_numbers_are_usage_errors(options: list[str]) -> None:
    assert CliRunner().invoke(main, ["size", *options]).exit_code == ExitCode.USAGE
