"""`synckairos simulate` prints the timeline of each example of the guides, or JSON, or the faults of the file."""

from uuid import uuid4

import orjson
import pytest
from click.testing import CliRunner

from synckairos.cli import main
from synckairos.cli.exit_codes import ExitCode
from tests.unit.docs.test_guide_examples import EXAMPLES, TIMELINES


@pytest.mark.parametrize("name", TIMELINES)
def test_simulate_prints_one_line_per_row_and_the_end(name: str) -> None:
    result = CliRunner().invoke(main, ["simulate", str(EXAMPLES / f"{name}.json")])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == TIMELINES[name][0].count("|") + 3
    assert result.stdout.splitlines()[-1].startswith(TIMELINES[name][1])


def test_simulate_with_json_prints_the_whole_result() -> None:
    result = CliRunner().invoke(main, ["simulate", "--json", "-"], input=(EXAMPLES / "exam.json").read_text())
    assert orjson.loads(result.stdout)["final"]["status"] == "expired"


@pytest.mark.parametrize(
    ("text", "fault"),
    [("{", "JSON"), ('{"session": {"sync_mode": "global"}, "until_ms": -1}', "until_ms")],
)
def test_simulate_of_an_invalid_file_prints_its_faults(text: str, fault: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "-"], input=text)
    assert result.exit_code == ExitCode.USAGE
    assert fault in result.stderr
    assert "Traceback" not in result.output


def test_simulate_prints_the_name_of_a_participant_that_has_left() -> None:
    text = CliRunner().invoke(main, ["simulate", str(EXAMPLES / "poker-turns.json")]).output
    assert "      60.000    6  participant_removed  Seat 2\n" in text


def test_simulate_prints_why_a_command_is_refused_and_which_members_have_no_effect() -> None:
    a, b = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
    session = {
        "sync_mode": "per_participant",
        "participants": [{"participant_id": each, "total_time_ms": 60_000} for each in (a, b)],
    }
    commands = [
        {"at_ms": 0, "command": "start", "args": {"reason": "go"}},
        {"at_ms": 1_000, "command": "switch", "args": {"current_participant_id": b}},
        {"at_ms": 2_000, "command": "resume"},
    ]
    text = orjson.dumps({"session": session, "commands": commands, "until_ms": 3_000})
    result = CliRunner().invoke(main, ["simulate", "-"], input=text)
    assert result.exit_code == ExitCode.OK
    assert [line.strip() for line in result.stdout.splitlines() if "refused" in line] == [
        f"1.000    -  refused: NOT_ACTIVE_PARTICIPANT: Participant {b} is not active",
        "2.000    -  refused: INVALID_STATE_TRANSITION: Session cannot be resumed: the session is running",
    ]
    assert result.stderr == "warning: commands.0.args.reason: unknown member; it has no effect\n"


@pytest.mark.parametrize("color", [False, True])
def test_simulate_shows_control_characters_of_names_as_escapes(color: bool) -> None:
    participants = [{"participant_id": str(uuid4()), "participant_index": 0, "display_name": "A\x1b]0;x\x07\x1b[31mB"}]
    session = {"sync_mode": "per_participant", "participants": participants, "total_time_ms": 60_000}
    body = {"session": session, "commands": [{"at_ms": 0, "command": "start"}], "until_ms": 1000}
    result = CliRunner().invoke(main, ["simulate", "-"], input=orjson.dumps(body), color=color)
    assert result.exit_code == 0, result.output
    assert r"A\u001b]0;x\u0007\u001b[31mB" in result.stdout
    assert "\x07" not in result.output
    assert "\x1b]" not in result.output
