"""The commands `synckairos jobs …`: the types that they accept."""

from synckairos.cli.jobs import JOB_TYPES
from synckairos.jobs.kinds import JOB_KINDS


def test_types_of_the_commands_are_the_types_of_the_queue() -> None:
    assert sorted(JOB_TYPES) == sorted(JOB_KINDS)
