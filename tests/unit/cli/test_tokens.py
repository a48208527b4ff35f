"""Commands `tokens create`, `tokens check` and `config show`."""

import time
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from synckairos.cli import main
from tests.tokens import SECRET, claims_at, sign_with_secret, signing_key

SESSION_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def run(*args: str, stdin: str | None = None, **env: str) -> Result:
    return CliRunner().invoke(main, args, input=stdin, env={"JWT_SECRET": SECRET, **env})


def claims_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    claims: dict[str, Any] = jwt.decode(result.stdout.strip(), SECRET, algorithms=["HS256"], audience="synckairos")
    return claims


def test_created_token_has_the_given_claims_and_no_other() -> None:
    claims = claims_of(
        run(
            *("tokens", "create", "--sub", "alice", "--role", "participant", "--participant", SESSION_ID),
            *("--grant", f"{SESSION_ID}@viewer", "--grant", "label:mail=a@b", "--ttl", "15m", "--jti", "t1"),
            *("--group", "class-7"),
        )
    )
    assert claims.pop("exp") - claims.pop("iat") == 900
    assert claims == {
        "sub": "alice",
        "aud": "synckairos",
        "role": "participant",
        "participant_id": SESSION_ID,
        "grants": [{"sessions": [SESSION_ID], "role": "viewer"}, {"sessions": ["label:mail=a@b"]}],
        "jti": "t1",
        "grp": "class-7",
    }
    assert claims_of(run("tokens", "create", "--sub", "bob")).keys() == {"sub", "aud", "iat", "exp"}


@pytest.mark.parametrize(
    ("args", "env", "code", "message"),
    [
        (("--sub", "a b"), {}, 2, "The sub of the token is not 1 to 128 visible ASCII characters"),
        (("--sub", "a", "--role", "operator"), {}, 2, "The role of the token is none of viewer,"),
        (("--sub", "a", "--grant", "all"), {}, 2, "A session of a grant is not a UUID"),
        (("--sub", "a", "--ttl", "2d"), {}, 2, "The exp of the token is more than 86,400 s ahead"),
        (("--sub", "a", "--ttl", "soon"), {}, 2, "'soon' is no duration such as 90s, 15m, 8h or 7d"),
        (("--sub", "a"), {"JWT_SECRET": "short"}, 3, "JWT_SECRET: should have at least 32 bytes, not 5"),
        (("--sub", "a"), {"JWT_SECRET": ""}, 3, "JWT_SECRET: is needed to sign tokens, and is not set"),
    ],
)
def test_token_that_the_server_would_refuse_is_not_created(
    args: tuple[str, ...], env: dict[str, str], code: int, message: str
) -> None:
    result = run("tokens", "create", *args, **env)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_check_prints_what_a_token_allows() -> None:
    token = run("tokens", "create", "--sub", "alice", "--grant", f"{SESSION_ID}@viewer", "--grant", "*").stdout
    result = run("tokens", "check", "-", stdin=token)
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[:3])
    assert lines == {"subject": "alice", "tenant": "default", "role": "controller"}
    assert result.stdout.splitlines()[-2:] == [
        f"sessions     {SESSION_ID} as viewer",
        "sessions     * as controller",
    ]


@pytest.mark.parametrize(
    ("role", "line"),
    [
        ("admin", "sessions     all sessions of the tenant, because the role is admin"),
        ("viewer", "sessions     none by grants. Member rows are not looked up"),
    ],
)
def test_check_names_the_sessions_of_a_token_without_grants(role: str, line: str) -> None:
    token = run("tokens", "create", "--sub", "alice", "--role", role).stdout.strip()
    assert run("tokens", "check", token).stdout.splitlines()[-1] == line


def test_check_prints_the_reason_of_a_refusal_and_exits_1() -> None:
    token = run("tokens", "create", "--sub", "alice").stdout.strip()
    result = run("tokens", "check", token, JWT_SECRET="another secret, with 32 bytes or more")
    assert (result.exit_code, result.stdout) == (
        1,
        "refused with UNAUTHORIZED: The signature of the token is not from an accepted key\n",
    )


def explain(verb: str, *args: str, session_id: str = SESSION_ID) -> tuple[int, list[str]]:
    token = run("tokens", "create", "--sub", "alice", *args).stdout.strip()
    result = run("auth", "explain", "--token", token, "--session", session_id, "--command", verb)
    return result.exit_code, result.stdout.splitlines()


def test_explanation_names_the_token_the_rule_the_grant_and_the_result() -> None:
    assert explain("switch", "--role", "participant", "--grant", SESSION_ID) == (
        0,
        [
            "token        accepted: alice with the role participant",
            "rule         switch requires participant on the session",
            f"session      the grant '{SESSION_ID} as participant' gives the role participant",
            "condition    the caller takes part in the session, and acts only for itself",
            "result       allowed",
        ],
    )


@pytest.mark.parametrize(
    ("verb", "args", "code", "result"),
    [
        ("delete", ("--role", "admin"), 0, "allowed"),
        ("health", (), 0, "allowed"),
        ("simulate", ("--role", "viewer"), 0, "allowed"),
        (
            "start",
            ("--role", "admin", "--grant", "*@viewer"),
            0,
            "allowed",
        ),
        (
            "start",
            ("--grant", "*@viewer"),
            1,
            "refused with 403 FORBIDDEN: start requires the role controller or a higher role on the session",
        ),
        ("read", (), 1, f"refused with 404 SESSION_NOT_FOUND: Session {SESSION_ID} not found"),
        (
            "create",
            ("--grant", "*"),
            1,
            (
                "refused with 403 FORBIDDEN: create requires the role admin, or the role controller and a grant or a "
                "member row for each label of the session"
            ),
        ),
    ],
)
def test_explanation_has_the_answer_of_the_server(verb: str, args: tuple[str, ...], code: int, result: str) -> None:
    found_code, lines = explain(verb, *args)
    assert (found_code, lines[-1]) == (code, f"result       {result}")


def test_explanation_of_a_refused_token_and_of_an_unknown_command() -> None:
    args = ("auth", "explain", "--session", SESSION_ID, "--command", "read", "--token", "-")
    result = run(*args, stdin="a.b.c")
    text = "token        refused with 401 UNAUTHORIZED: The token is not a JSON Web Token\n"
    assert (result.exit_code, result.stdout) == (1, text)
    token = run("tokens", "create", "--sub", "alice").stdout
    result = run(*args[:-3], "fly", "--token", "-", stdin=token)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2


def test_shown_settings_have_no_secrets() -> None:
    result = run(
        "config", "show", DATABASE_URL="postgresql://u:hidden@h/d", SYNCKAIROS_ALARM_WEBHOOK_URL="https://h/hidden"
    )
    lines = result.stdout.splitlines()
    assert {"JWT_SECRET=***", "DATABASE_URL=postgresql://u:***@h/d", "SYNCKAIROS_ALARM_WEBHOOK_URL=***"} <= set(lines)
    assert "SYNCKAIROS_AUTH=none  # default" in lines
    assert not {SECRET, "hidden"} & set(result.stdout.split("="))
    assert "hidden" not in result.stdout


@pytest.mark.parametrize(
    "command", [("tokens", "check"), ("auth", "explain", "--session", SESSION_ID, "--command", "read")]
)
def test_refusal_of_an_unknown_key_says_that_no_signing_keys_are_looked_up(command: tuple[str, ...]) -> None:
    hint = "Signing keys of /v1/signing-keys are not looked up: ask the server with GET /v1/me"
    claims = claims_at(time.time_ns() // 1_000_000)
    tokens = {signing_key("ES256").sign(claims): True, sign_with_secret(claims, SECRET + "x"): False}
    for token, is_hinted in tokens.items():
        result = run(*command, *(["--token"] if "explain" in command else []), token)
        assert result.exit_code == 1
        assert "The signature of the token is not from an accepted key" in result.stdout
        assert (hint in result.stdout) is is_hinted
