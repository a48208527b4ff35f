"""Every value on the page of limits is the code's, and a setting that it names has that value as its default."""

import re
from typing import Any

import pytest
from pydantic import BaseModel

from synckairos.clock import join_leave, recorded_times, simulation, update_session
from synckairos.config import Settings
from synckairos.history import page_size, records, time_report
from synckairos.http import large_bodies, request_response
from synckairos.http import simulate as simulate_routes
from synckairos.identity import public_key_input, verification_key
from synckairos.jobs import enqueue, table
from synckairos.limits import parse_queue, tenant_limits, tenant_share, work_limits
from synckairos.members import table as member_table
from synckairos.realtime import connection, sign_in, v3_connection, v3_inbox
from synckairos.realtime.timings import DEFAULT_TIMINGS as REALTIME_TIMINGS
from synckairos.server import http_protocol, uvicorn_server
from synckairos.server.timings import DEFAULT_TIMINGS as SERVER_TIMINGS
from synckairos.service import create, exclusive_start, prepare_commit
from synckairos.signing_keys import table as signing_key_table
from synckairos.store import commit_script, participant_sessions, rate_quotas
from synckairos.stored_credentials import new_link, session_tokens
from synckairos.stored_credentials import table as credential_table
from synckairos.webhooks import delivery_queue, dispatcher, registry, sender
from synckairos.wire import api_keys as api_key_models
from synckairos.wire import (
    column_selection,
    field_types,
    presence_counts,
    query_parameters,
    simulation_body,
    v3_messages,
    validation_faults,
)
from synckairos.wire import grants as grant_models
from synckairos.wire import links as link_models
from synckairos.wire import members as member_models
from synckairos.wire import signing_keys as signing_key_models
from synckairos.wire import webhooks as webhook_models
from synckairos.wire.command_bodies.audience_display import AnnounceBody
from synckairos.wire.command_bodies.participants import AdjustBody
from synckairos.wire.command_bodies.pauses import PauseBody, ResumeBody
from synckairos.wire.command_bodies.turns import SwitchBody
from synckairos.wire.creation_body import CreateSession
from tests.unit.docs.pages import Row, code_words, read_page, tables

ROWS: dict[str, Row] = {row["limit"]: row for each in tables(read_page("limits.md")) for row in each}


DEFAULTS = Settings()


def text(bound: float) -> str:
    """Write a bound as the page does."""
    assert bound == int(bound)
    return f"{int(bound):,}".replace("-", "−")


def between(least: float, most: float) -> str:
    return f"{text(least)} to {text(most)}"


def bounds(model: type[BaseModel], path: str) -> str:
    """Write the bounds that a model gives a member, such as `clock.byoyomi.periods`; `[]` is an array's items."""
    schema = model.model_json_schema()
    place = schema
    for name in path.split("."):
        place = place["items"] if name == "[]" else place["properties"][name]
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rpartition("/")[2]]
    if "anyOf" in place:  # a budget of 0 is allowed too, and null as text of an announcement
        place = next(each for each in place["anyOf"] if "maximum" in each or "maxLength" in each)
    found: dict[str, Any] = place
    least = next((found[name] for name in ("minimum", "minItems", "minLength") if name in found), None)
    most = next(found[name] for name in ("maximum", "maxItems", "maxLength") if name in found)
    return text(most) if least is None else between(least, most)


def message_id_bounds() -> str:
    """Write how many characters the id of a message may have, from its pattern."""
    pattern: str = v3_messages.Command.model_json_schema()["properties"]["id"]["pattern"]
    match = re.fullmatch(r"\^\[!-~\]\{(\d+),(\d+)\}\\z", pattern)
    assert match is not None
    return between(int(match[1]), int(match[2]))


def setting(field: str) -> str:
    """Write the default of a setting."""
    return text(Settings.model_fields[field].default)


def same(*texts: str) -> str:
    """Return the one text that all of these are."""
    (only,) = set(texts)
    return only


IN_CODE = {
    # HTTP
    "request body": text(request_response.MAX_BODY_BYTES),
    "time for the body to arrive": text(SERVER_TIMINGS.body_s),
    "time for the headers to arrive": text(SERVER_TIMINGS.headers_s),
    "idle time of a connection": setting("keep_alive_s"),
    "headers": text(http_protocol.MAX_HEADERS),
    "one header, or the path": text(http_protocol.MAX_HEADER_BYTES),
    "all headers and the path": text(http_protocol.MAX_HEADERS_BYTES),
    "query parameters": text(query_parameters.MAX_FIELDS),
    "values in a body": text(validation_faults.MAX_VALUES),
    "members of one object": text(validation_faults.MAX_MEMBERS),
    "depth of a body": text(validation_faults.MAX_DEPTH),
    "integers in JSON": between(-validation_faults.MAX_INTEGER, validation_faults.MAX_INTEGER),
    "listed faults of one request": text(validation_faults.MAX_FAULTS),
    "`Idempotency-Key`": message_id_bounds(),  # one space with the ids of messages
    "`limit` of a page": bounds(query_parameters.PageQuery, "limit"),
    "documents on one page of sessions or events": text(page_size.MAX_PAGE_BYTES),
    "`cursor`": bounds(query_parameters.PageQuery, "cursor"),
    "`days` of a participant's sessions": bounds(query_parameters.ParticipantSessionsQuery, "days"),
    "downloads of one client: answers of more than 256 KiB": text(large_bodies.MAX_DOWNLOADS),
    "live tails of one client": text(work_limits.MAX_LIVE_TAILS),
    "rows of a time report": text(records.MAX_REPORT_ROWS),
    "`limit` of a report of hours": bounds(query_parameters.HoursQuery, "limit"),
    "participants of a report of hours": text(query_parameters.MAX_REPORT_PARTICIPANTS),
    "`round_ms` of a time report": bounds(query_parameters.TimeReportQuery, "round_ms"),
    "names in `columns`": text(column_selection.MAX_COLUMNS),
    "outbox entries in a partition, for a report of hours by labels alone": text(time_report.MAX_OUTBOX_ENTRIES),
    "bytes of these entries": text(time_report.MAX_OUTBOX_BYTES),
    "sessions that an exclusive start completes": text(exclusive_start.MAX_STOPPED),
    "breaks of recorded times": text(recorded_times.MAX_BREAKS),
    # rates
    "REST requests and socket commands, without legal presses": setting("rate_limit_general"),
    "the same requests at once": text(rate_quotas.general_rate(DEFAULTS.rate_limit_general).burst),
    "replays": text(rate_quotas.replay_rate(rate_quotas.general_rate(DEFAULTS.rate_limit_general)).limit),
    "presses: `switch`, `pause` and `resume`": setting("rate_limit_switch"),
    "presses at once": text(rate_quotas.switch_rate(DEFAULTS.rate_limit_switch).burst),
    "socket messages": text(connection.MESSAGES_A_SECOND),
    "socket messages at once": text(connection.MESSAGES_AT_ONCE),
    # work of one client
    **{f"{each.name}, {each.of}": text(each.per_s) for each in work_limits.WORK_LIMITS},
    # tenants
    **{
        f"`{each.name}` of a tenant": "none" if each.default is None else text(each.default)
        for each in tenant_limits.TENANT_LIMITS
    },
    **{f"{each.name}, {each.of}": text(each.per_s) for each in work_limits.TENANT_WORK_LIMITS},
    # a session
    "participants": between(1, join_leave.MAX_PARTICIPANTS),
    "groups": bounds(CreateSession, "groups"),
    "budgets": same(
        *(
            bounds(CreateSession, path)
            for path in (
                *("total_time_ms", "time_per_cycle_ms", "max_time_ms", "extend_on_switch_ms"),
                *("groups.[].total_time_ms",),
            )
        )
    ),
    "`increment_ms` of the session": bounds(CreateSession, "increment_ms"),
    "`increment_ms`, `delay_ms` and `add_ms` of a clock": same(
        *(
            bounds(CreateSession, f"clock.{path}")
            for path in ("fischer.increment_ms", "delay.delay_ms", "stages.[].add_ms", "stages.[].increment_ms")
        )
    ),
    "`cap_ms`, `period_ms` and `move_ms` of a clock": same(
        *(
            bounds(CreateSession, f"clock.{path}")
            for path in ("fischer.cap_ms", "byoyomi.period_ms", "canadian.period_ms", "per_move.move_ms")
        )
    ),
    "`periods` of a clock": bounds(CreateSession, "clock.byoyomi.periods"),
    "`moves` of a clock or stage": same(
        bounds(CreateSession, "clock.canadian.moves"), bounds(CreateSession, "clock.stages.[].moves")
    ),
    "`stages`": bounds(CreateSession, "clock.stages"),
    "`warnings_ms`": bounds(CreateSession, "warnings_ms"),
    "one threshold of `warnings_ms`": bounds(CreateSession, "warnings_ms.[]"),
    "`max_cycles`": bounds(CreateSession, "max_cycles"),
    "items of a `plan`": bounds(CreateSession, "plan"),
    "`item_id`": same(bounds(CreateSession, "plan.[].item_id"), bounds(SwitchBody, "item_id")),
    "`title` of an item": bounds(CreateSession, "plan.[].title"),
    "`pause_budget`": bounds(CreateSession, "pause_budget"),
    "`participant_index`": bounds(CreateSession, "participants.[].participant_index"),
    "`display_name`": bounds(CreateSession, "participants.[].display_name"),
    "`metadata` as JSON": text(update_session.MAX_METADATA_BYTES),
    "depth of `metadata`": text(field_types.MAX_METADATA_DEPTH),
    # commands
    "`delta_ms` of `adjust`": bounds(AdjustBody, "delta_ms"),
    "`participant_ids` of `adjust`": bounds(AdjustBody, "participant_ids"),
    "`reason` of `pause` and `resume`": same(bounds(PauseBody, "reason"), bounds(ResumeBody, "reason")),
    "`max_ms` of `pause`": bounds(PauseBody, "max_ms"),
    "`text` of `announce`": bounds(AnnounceBody, "text"),
    "`lag_ms` of `switch`": bounds(SwitchBody, "lag_ms"),
    "attempts of a command that loses races": text(prepare_commit.MAX_ATTEMPTS),
    "steps of a simulation": text(work_limits.SIMULATION_STEPS.burst),
    "commands of a simulation": bounds(simulation_body.SimulationBody, "commands"),
    "rows of a simulation": text(simulation.MAX_ROWS),
    "`at_ms` and `until_ms` of a simulation": same(
        bounds(simulation_body.SimulationBody, "until_ms"), bounds(simulation_body.SimulationBody, "commands.[].at_ms")
    ),
    # sockets
    "connections of an instance": setting("ws_max_connections"),
    "connections of one address": setting("ws_max_connections_per_address"),
    "message from a client": text(uvicorn_server.MAX_FRAME_BYTES),
    "message that is not a `COMMAND`": text(work_limits.FREE_BYTES),
    "subscriptions of a v3 connection": text(v3_connection.MAX_SUBSCRIPTIONS),
    "requests of a v3 connection that wait": text(v3_inbox.MAX_INBOX),
    "text of these requests": text(v3_inbox.MAX_INBOX_CHARACTERS),
    "`id` of a message": message_id_bounds(),
    "unsent events and answers of a connection": text(connection.MAX_QUEUED_FRAMES),
    "missed versions that a resume sends": text(connection.MAX_QUEUED_FRAMES),
    "time in which a client reads nothing": text(REALTIME_TIMINGS.stuck_after_s),
    "silence until the server pings": text(REALTIME_TIMINGS.ping_after_s),
    "silence of a client": text(REALTIME_TIMINGS.silent_after_s),
    "time to acknowledge sent data by TCP": text(uvicorn_server.USER_TIMEOUT_MS / 1000),
    "`AUTH` or `REFRESH`": text(v3_messages.MAX_CREDENTIAL_CHARACTERS),
    "sockets of one address that wait for `AUTH`": text(sign_in.MAX_WAITING),
    "time until `AUTH`": text(sign_in.AUTH_TIMEOUT_S),
    "time between two `REFRESH` of a socket": text(sign_in.REFRESH_INTERVAL_S),
    "mean age of a socket with a credential": setting("ws_max_age"),
    "participants in `PRESENCE`": text(presence_counts.MAX_LISTED),
    # stores
    "versions in the [version history](../glossary.md#version-history)": setting("history_length"),
    "size of the version history": text(commit_script.MAX_HISTORY_BYTES),
    "time in Redis after the last audited change": setting("session_ttl_s"),
    "versions in the outbox": setting("outbox_max_entries"),
    "size of the outbox": setting("outbox_max_bytes"),
    "age of the outbox": setting("outbox_max_age_s"),
    "sessions in a participant's list in Redis": text(participant_sessions.MAX_SESSIONS),
    "memory of a creation's command id": text(create.KEY_TTL_S),
    "memory of a simulation's command id": text(simulate_routes.REPLAY_KEY_TTL_S),
    "memory of all other command ids": text(commit_script.RECORDS_TTL_MS // 1_000),
    "command ids of one session": text(commit_script.MAX_RECORDS),
    # webhooks
    "webhook endpoints": text(registry.MAX_ENDPOINTS),
    "`url`": bounds(webhook_models.CreateWebhook, "url"),
    "`description`": bounds(webhook_models.CreateWebhook, "description"),
    "`overlap_s` of `rotate`": bounds(webhook_models.RotateSecret, "overlap_s"),
    "time of one attempt": setting("webhook_timeout_s"),
    "bytes read of an answer": text(sender.MAX_ANSWER_BYTES),
    "attempts of a delivery": text(1 + len(dispatcher.SCHEDULE_S)),
    "deliveries to one endpoint at a time": text(dispatcher.MAX_CONCURRENT_PER_ENDPOINT),
    "pause of an endpoint after a failure": text(delivery_queue.LONGEST_PAUSE_S),
    "`Retry-After` of a receiver": text(sender.MAX_RETRY_AFTER_S),
    "time with nothing but failures": text(dispatcher.GIVE_UP_S),
    "age of the log of deliveries": setting("webhook_log_days"),
    # signing keys
    "signing keys of a tenant": text(signing_key_table.MAX_KEYS),
    "`kid`": bounds(signing_key_models.CreateSigningKey, "kid"),
    "`issuer`": bounds(signing_key_models.CreateSigningKey, "issuer"),
    "`pem`": bounds(signing_key_models.CreateSigningKey, "pem"),
    "`jwk`": text(signing_key_models.MAX_JWK_MEMBERS),
    "one number of a `jwk`": text(public_key_input.MAX_MEMBER_CHARACTERS),
    "RSA keys": between(verification_key.MIN_RSA_BITS, public_key_input.MAX_RSA_BITS),
    "public exponent of RSA keys": text(public_key_input.MAX_EXPONENT_BITS),
    # API keys
    "members of a subject": text(member_table.MAX_ROWS_OF_SUBJECT),
    "`members` of a request": f"1 to {text(member_models.MAX_BULK_ROWS)}",
    "body of `PUT /v1/members`": text(member_models.MAX_BULK_BYTES >> 20),
    "`subject` of a member": f"1 to {text(member_models.MAX_SUBJECT)}",
    "valid API keys of a tenant": text(credential_table.MAX_CREDENTIALS),
    "`label` of an API key": bounds(api_key_models.CreateApiKey, "label"),
    "`grants` of an API key": bounds(api_key_models.CreateApiKey, "grants"),
    "`sessions` of a grant of an API key": bounds(grant_models.Grant, "sessions"),
    # links and session tokens
    "valid links of a tenant": text(credential_table.MAX_LINKS),
    "valid links of a caller without the role `admin`": text(new_link.MAX_LINKS_OF_CREATOR),
    "valid links below a link": text(credential_table.MAX_LINKS_BELOW_LINK),
    "`max_uses` of a link": bounds(link_models.CreateLink, "max_uses"),
    "`label` of a link": bounds(link_models.CreateLink, "label"),
    "life of a link": text(new_link.MAX_LIFE_MS // 86_400_000),
    "valid session tokens of an API key": text(credential_table.MAX_CREDENTIALS),
    "time without a use of the session token of a link": text(session_tokens.LINK_IDLE_S),
    "time without a use of the session token of an API key": text(session_tokens.SIGN_IN_IDLE_S),
    "life of the session token of an API key": text(session_tokens.SIGN_IN_LIFE_S),
    # jobs
    "attempts of a job": text(table.MAX_ATTEMPTS),
    "age of finished jobs": text(enqueue.KEPT_DAYS),
}
"""Each row's value, from the constant, the model or the setting that makes it so."""


def test_page_has_the_table_of_all_limits_of_work() -> None:
    page = read_page("limits.md")
    assert f"\n\n{work_limits.render_work_limits_table()}\n\n" in page
    assert f"up to {text(work_limits.FREE_BYTES)} bytes are not counted" in page
    assert f"a body above {text(request_response.LARGE_BODY_BYTES)} bytes, except a press" in page.replace("\n  ", " ")
    assert f"more than {text(parse_queue.THREAD_VALUES)} values, it is parsed in a thread" in page.replace("\n", " ")


def test_page_has_the_table_of_the_limits_of_tenants() -> None:
    page = read_page("limits.md")
    assert f"\n\n{tenant_limits.render_tenant_limits_table()}\n\n" in page
    assert f"\n\n{work_limits.render_work_limits_table(work_limits.TENANT_WORK_LIMITS)}\n\n" in page
    assert f"{tenant_share.MAX_RUNNING_OF_TENANT} requests of a tenant run" in page
    assert f"{tenant_share.MAX_QUERIES_OF_TENANT} of its queries in Postgres" in page
    assert f"one every {tenant_share.REFUSAL_INTERVAL_OF_TENANT_S * 1000:g} ms" in page
    assert f"recently used {tenant_share.LITTLE_USE_OF_TENANT_S * 1000:g} ms more than its share" in page


def test_page_has_a_row_for_each_known_limit_and_no_other() -> None:
    assert list(ROWS) == list(IN_CODE)
    assert len(ROWS) == sum(len(each) for each in tables(read_page("limits.md")))


@pytest.mark.parametrize("limit", IN_CODE)
def test_page_gives_each_limit_the_value_of_the_code(limit: str) -> None:
    row = ROWS[limit]
    assert row["value"] == IN_CODE[limit]
    assert row["if exceeded"]


DERIVED = {
    "the same requests at once": "RATE_LIMIT_GENERAL",
    "replays": "RATE_LIMIT_GENERAL",
    "presses at once": "RATE_LIMIT_SWITCH",
    **{f"{each.name}, client": work_limits.SETTING for each in work_limits.WORK_LIMITS if each.of == "client"},
    **{f"{each.name}, tenant": work_limits.SETTING for each in work_limits.TENANT_WORK_LIMITS},
    "steps of a simulation": work_limits.SETTING,
}
"""The setting of each row whose value is calculated from the setting."""


@pytest.mark.parametrize("limit", [limit for limit, row in ROWS.items() if row["setting"] or limit in DERIVED])
def test_a_limit_with_a_setting_has_its_default(limit: str) -> None:
    (variable,) = code_words(ROWS[limit]["setting"])
    field = variable.removeprefix("SYNCKAIROS_").lower()
    assert ROWS[limit]["value"] == setting(field) if limit not in DERIVED else variable == DERIVED[limit]
    assert field in Settings.model_fields
