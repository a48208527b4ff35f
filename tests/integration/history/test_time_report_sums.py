"""Law of time reports: by every bucket and in every zone, the rows sum up to the used times that sessions show."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from synckairos.clock.commands import Amend, Create, NewParticipant, RecordedTimes
from synckairos.clock.model import Break, SyncMode
from synckairos.errors import SyncKairosError
from synckairos.history.records import Bucket, TimeReportSpec, UsedTimeBucket, WeekStart
from synckairos.history.time_report import TimeReporter
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.command_bodies.session_changes import AmendBody
from synckairos.wire.instants import parse_instant_ms, render_instant
from synckairos.wire.session_json import breaks_json
from synckairos.wire.time_zone_days import parse_time_zone
from tests.integration.audit_parts import AuditParts
from tests.integration.audited_service import AuditedService
from tests.integration.random_player import T0 as PLAYED_AT
from tests.integration.random_player import RandomPlayer

CALLER = Principal.anonymous_admin()
MINUTE_MS = 60_000
ZONES = {
    "UTC": "2026-03-29T00:00:00Z",
    "Europe/Berlin": "2026-03-29T00:00:00Z",  # from 02:00 to 03:00
    "America/Havana": "2026-03-08T05:00:00Z",  # from 00:00 to 01:00: the day has no midnight
    "America/St_Johns": "2010-11-07T02:31:00Z",  # from 00:01 back to 23:01: midnight occurs twice
    "Australia/Lord_Howe": "2026-04-04T15:00:00Z",  # half an hour back
    "Pacific/Apia": "2011-12-30T10:00:00Z",  # a whole day is skipped
    "Asia/Kathmandu": "2026-01-01T00:00:00Z",
}
"""Time zones, each with an instant at which its clocks are set or a day ends. All entries are around these instants."""

BUCKETS: list[tuple[Bucket, WeekStart]] = [
    *((bucket, "monday") for bucket in get_args(Bucket)),
    ("week", "sunday"),
    ("week", "saturday"),
]


class Entries:
    """Random recorded sessions of some participants, with amendments, and the minutes in which each one worked."""

    def __init__(self, service: AuditedService, seed: int) -> None:
        self.service = service
        self.pick = random.Random(seed)
        self.people = [str(UUID(int=self.pick.getrandbits(128), version=4)) for _ in range(3)]
        self.minutes: dict[str, tuple[str, list[int]]] = {}
        self.used_ms: dict[str, tuple[str, int]] = {}

    async def add(self) -> None:
        person = self.pick.choice(self.people)
        times = self._times()
        spec = Create(SyncMode.COUNT_UP, (NewParticipant(person),), recorded=times, labels={"team": "a"})
        args = {
            "sync_mode": "count_up",
            "participants": [{"participant_id": person}],
            "labels": {"team": "a"},
            "recorded": {
                "started_at": render_instant(times.started_at_ms),
                "completed_at": render_instant(times.completed_at_ms),
                "breaks": breaks_json(times.breaks),
            },
        }
        created = await self.service.sessions.create(CreateRequest(CALLER, spec, args=args))
        session = created.session
        self._note(session.session_id, person, times)
        for _ in range(self.pick.choice((0, 0, 1, 2))):
            self.service.store.at_ms += 1_000
            times = self._times()
            body = AmendBody.model_validate(
                {
                    "started_at": render_instant(times.started_at_ms),
                    "completed_at": render_instant(times.completed_at_ms),
                    "breaks": breaks_json(times.breaks),
                }
            )
            amend = body.to_command()
            assert isinstance(amend, Amend)
            args = body.model_dump(exclude_unset=True)
            session = (
                await self.service.sessions.execute(
                    CommandRequest(CALLER, session.session_id, amend, "amend", args=args)
                )
            ).session
            self._note(session.session_id, person, times)
        self.used_ms[session.session_id] = (person, session.participants[0].used_ms)

    def _times(self) -> RecordedTimes:
        pick = self.pick
        around_ms = parse_instant_ms(pick.choice([*ZONES.values()]))
        begin_ms = around_ms + pick.randrange(-20 * 60, 60) * MINUTE_MS
        lasts = pick.randrange(1, 30 * 60)
        cuts = sorted(pick.sample(range(lasts + 1), k=min(lasts + 1, 2 * pick.randrange(4))))
        breaks = tuple(
            Break(begin_ms + at * MINUTE_MS, begin_ms + until * MINUTE_MS)
            for at, until in zip(cuts[::2], cuts[1::2], strict=False)
        )
        return RecordedTimes(begin_ms, begin_ms + lasts * MINUTE_MS, breaks)

    def _note(self, session_id: str, person: str, times: RecordedTimes) -> None:
        worked = [
            at_ms
            for at_ms in range(times.started_at_ms, times.completed_at_ms, MINUTE_MS)
            if not any(each.began_at_ms <= at_ms < each.ended_at_ms for each in times.breaks)
        ]
        self.minutes[session_id] = (person, worked)

    def expected(self, bucket: Bucket, week_start: WeekStart, zone: ZoneInfo) -> Counter[tuple[str, str]]:
        """Return the minutes by bucket and participant, counted minute by minute."""
        found: Counter[tuple[str, str]] = Counter()
        for session_id, (person, worked) in self.minutes.items():
            for at_ms in worked:
                name = session_id if bucket == "session" else bucket_name(at_ms, bucket, week_start, zone)
                found[name, person] += 1
        return found


def bucket_name(at_ms: int, bucket: Bucket, week_start: WeekStart, zone: ZoneInfo) -> str:
    day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()
    if bucket == "month":
        return f"{day:%Y-%m}"
    if bucket == "day":
        return day.isoformat()
    if week_start == "monday":
        return f"{day:%G-W%V}"
    first = {"sunday": 6, "saturday": 5}[week_start]
    return (day - timedelta(days=(day.weekday() - first) % 7)).isoformat()


@pytest.mark.parametrize("seed", range(3))
async def test_rows_sum_up_to_the_used_times_by_every_bucket_and_zone(audit: AuditParts, seed: int) -> None:
    entries = Entries(AuditedService(audit), seed)
    for at in range(24):
        await entries.add()
        if at in (8, 16):
            await audit.drain()  # the last third stays in the outbox
    reporter = TimeReporter(audit.history, audit.outbox)
    now_ms = entries.service.store.at_ms
    for name in ZONES:
        zone = parse_time_zone(name)
        for bucket, week_start in BUCKETS:
            fields: dict[str, Any] = {"tz": name, "bucket": bucket, "week_start": week_start, "by_participant": True}
            by_labels, _ = await reporter.report_used_time(
                TimeReportSpec(0, now_ms, now_ms, labels={"team": "a"}, **fields)
            )
            by_people, _ = await reporter.report_used_time(
                TimeReportSpec(0, now_ms, now_ms, participant_ids=tuple(entries.people), **fields)
            )
            assert by_labels == by_people
            sums = Counter({(each.bucket, each.participant_id): each.time_used_ms for each in by_people})
            # In St. John's, the repeated hour belongs to the day that begins first, but calendars show the old day.
            if name != "America/St_Johns" or bucket == "session":
                expected = entries.expected(bucket, week_start, zone)
                assert sums == Counter({key: minutes * MINUTE_MS for key, minutes in expected.items()}), (name, bucket)
            assert totals(by_people) == Counter(
                {
                    person: sum(ms for owner, ms in entries.used_ms.values() if owner == person)
                    for person in entries.people
                }
            )
    await audit.drain()
    assert await audit.rows("SELECT count(*) FROM sync_further_charges") != [(0,)]
    again, _ = await reporter.report_used_time(
        TimeReportSpec(0, now_ms, now_ms, labels={"team": "a"}, by_participant=True, bucket="session")
    )
    assert {each.bucket: (each.participant_id, each.time_used_ms) for each in again} == entries.used_ms


def totals(rows: list[UsedTimeBucket]) -> Counter[str]:
    """Return the time of each participant over all buckets."""
    found: Counter[str] = Counter()
    for each in rows:
        found[each.participant_id] += each.time_used_ms
    return found


async def test_rows_of_random_sessions_sum_up_to_their_used_times(audit: AuditParts) -> None:
    """Ended sessions with turns, of all modes: undone, amended, reopened, with changed plans and participants."""
    service = AuditedService(audit)
    players = []
    for seed in range(100, 190):
        players.append(await service.play(seed))
        if seed == 120:
            await audit.drain()
    outcomes = Counter(outcome for player in players for outcome in player.outcomes)
    assert {"undo", "amend", "reopen", "set_plan", "update_participant", "done"} <= outcomes.keys()
    await check_sums(audit, service, players, PLAYED_AT + 86_400_000)


async def check_sums(audit: AuditParts, service: AuditedService, players: list[RandomPlayer], now_ms: int) -> None:
    """Check that the reports of all participants of ended sessions show their used times, by every bucket."""
    shown: Counter[str] = Counter()
    reporter = TimeReporter(audit.history, audit.outbox)
    for player in players:
        try:
            session = (await service.sessions.read(CALLER, player.session_id)).session
        except SyncKairosError:
            continue
        # A participant that left and joined again begins with a used time of 0, but the earlier time was used too.
        if not session.status.is_final or "remove_participant" in player.outcomes:
            continue
        for each in session.participants:
            shown[each.participant_id] += each.used_ms
            for bucket, week_start in BUCKETS:
                spec = TimeReportSpec(
                    0, now_ms, now_ms, (each.participant_id,), bucket=bucket, week_start=week_start, tz="Europe/Berlin"
                )
                rows, _ = await reporter.report_used_time(spec)
                assert sum(row.time_used_ms for row in rows) == each.used_ms, (player.session_id, bucket)
    assert len(shown) > 10


async def test_rows_of_individual_clocks_sum_up_to_their_used_times(audit: AuditParts) -> None:
    service = AuditedService(audit)
    players = []
    for seed in range(200, 216):
        pick = random.Random(seed)
        player = RandomPlayer(service.sessions, service.store, seed)
        service.store.at_ms = PLAYED_AT + pick.randrange(1_000_000)
        people = [str(UUID(int=pick.getrandbits(128), version=4)) for _ in range(4)]
        has_end = pick.random() < 0.3
        times = {"ends_at": render_instant(service.store.at_ms + 20_000)} if has_end else {"total_time_ms": 15_000}
        rows = [{"participant_id": person, "time_factor": pick.choice((1, 1.25))} for person in people]
        timeout = pick.choice(("expire", "overtime"))
        await player.create({"sync_mode": "individual", "participants": rows, "on_timeout": timeout, **times})
        await player.send("start", {})
        for _ in range(25):
            service.store.at_ms += pick.choice((0, 1, 300, 500, 1_500))
            await player.send(*individual_command(pick, pick.choice(people)))
        service.store.at_ms += 1_000
        await player.send("complete", {})
        players.append(player)
        if seed == 207:
            await audit.drain()
    outcomes = Counter(outcome for player in players for outcome in player.outcomes)
    assert {"start", "pause", "resume", "adjust", "finish", "reopen", "update_participant"} <= outcomes.keys()
    await check_sums(audit, service, players, PLAYED_AT + 86_400_000)
    await audit.drain()
    for player in players[:4]:
        assert await service.findings(player.session_id) == []


def individual_command(pick: random.Random, person: str) -> tuple[str, dict[str, Any]]:
    """Return a random command to the clock of one participant."""
    named = {"participant_ids": [person]}
    return pick.choice(
        (
            ("start", named),
            ("pause", named | {"reason": "rain", "max_ms": 700}),
            ("pause", named),
            ("resume", named),
            ("adjust", named | {"delta_ms": pick.choice((-1_500, 4_000)), "scaled": True}),
            ("finish", named),
            ("reopen", named | {"delta_ms": 4_000}),
            ("update_participant", {"participant_id": person, "display_name": "Ü"}),
        )
    )


async def test_rows_of_sessions_with_rest_days_sum_up_to_their_used_times(audit: AuditParts) -> None:
    """Sessions that last for weeks, so that the charges leave out the rests, with turns that are undone."""
    service = AuditedService(audit)
    hour_ms = 3_600_000
    players = []
    for seed in range(300, 308):
        pick = random.Random(seed)
        player = RandomPlayer(service.sessions, service.store, seed)
        service.store.at_ms = PLAYED_AT + pick.randrange(1_000_000)
        rows = [{"participant_id": str(UUID(int=pick.getrandbits(128), version=4))} for _ in range(2)]
        rest = {"weekdays": pick.choice(([6, 7], [3])), "utc_offset_minutes": pick.choice((0, 345))}
        clock = {"per_move": {"move_ms": 72 * hour_ms}}
        await player.create({"sync_mode": "per_participant", "participants": rows, "rest": rest, "clock": clock})
        await player.send("start", {})
        for _ in range(12):
            service.store.at_ms += pick.choice((5, 19, 30, 47)) * hour_ms
            undo = {"turns": 1, "charge": pick.choice(("nobody", "mover", "resumed"))}
            await player.send(
                *pick.choice((("switch", {}), ("switch", {}), ("undo", undo), ("pause", {}), ("resume", {})))
            )
        await player.send("complete", {})
        players.append(player)
    outcomes = Counter(outcome for player in players for outcome in player.outcomes)
    assert {"undo", "pause", "switch"} <= outcomes.keys()
    await check_sums(audit, service, players, PLAYED_AT + 60 * 24 * hour_ms)
