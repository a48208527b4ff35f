"""The programs of the guide to authentication print tokens that a server accepts."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from synckairos.config import Settings
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.principal import Principal
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS

GUIDE = (DOCUMENTS / "guides" / "authentication.md").read_text()


def run_program(language: str, command: list[str]) -> str:
    (program,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return subprocess.run(
        [*command, program], capture_output=True, text=True, check=True, env=os.environ | {"JWT_SECRET": SECRET}
    ).stdout.strip()


async def principal_of(token: str) -> Principal:
    verifier = TokenVerifier.from_settings(Settings(auth="required", jwt_secret=SECRET))
    return await verifier.verify(token, time.time_ns() // 1_000_000)


async def test_token_of_the_python_program_is_accepted() -> None:
    principal = await principal_of(run_program("python", [sys.executable, "-c"]))
    assert (principal.subject, principal.role) == ("alice", "participant")
    assert principal.participant_id == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert principal.role_on("7c9e6679-7425-40de-944b-e07fc1f90ae7", ()) == "participant"


async def test_token_of_the_node_program_is_accepted() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is missing; it runs the program of the guide")
    principal = await principal_of(run_program("js", [node, "-e"]))
    assert (principal.role, principal.role_on("7c9e6679-7425-40de-944b-e07fc1f90ae7", ())) == ("controller", "viewer")
