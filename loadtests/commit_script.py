"""Load test of the commit script: processor time of Valkey for one switch, compared with scripts of earlier commits.

Each script commits real switches of its own sessions with two participants. The scripts take turns in short rounds, in
random order, so that other load on the machine affects them equally. The processor time is that of the main thread of
Valkey. It includes the append-only file, but not the drain.

`--against` names commits of this repository. A script of an earlier commit gets the keys and arguments that it names.
They must be the first keys and arguments of the present script.
"""

import argparse
import random
import re
import secrets
import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import uvloop
from msgspec import Struct

from loadtests.report import print_result
from loadtests.sessions import DAY_MS
from loadtests.stores import valkey_only
from synckairos.clock import creation, engine
from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.prepare_commit import RecordedOutcome, build_version, build_versions, prepare_commit
from synckairos.store.commit_script import CommitArguments, CommitScript
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript, ScriptCall
from synckairos.store.outbox import Outbox, WrittenVersion
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.shared_connection import RedisCommand, RedisPipe
from synckairos.store.stored_session import StoredSession
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.rendered_session import RenderedSession

PRESENT = "present"
BATCH = 32
"""Number of commits that are sent together."""

KEPT_ENTRIES = 300
"""Number of entries that stay in the outbox, so that no session has a TTL."""

LEGEND = {
    "entries_stay": "the outbox always has entries; the drain removes the oldest between the rounds",
    "drained": "the drain removes all entries before each round, so every session has a TTL",
    "*_with_command_id": "the same with an idempotency record for each switch",
    "*_us": "processor time of Valkey's main thread for one commit in µs, median of the rounds",
    "ratio_to_*": "time of the present script divided by that of the other, median of the rounds",
}


class Player(Struct):
    """One session that is switched: its state as the service holds it, and the instant of its last command."""

    rendered: RenderedSession
    stored: StoredSession
    now_ms: int


def load_script(commit: str) -> str:
    """Return the text of the commit script with its libraries, as it was at a commit of this repository."""

    def read(name: str) -> str:
        path = f"{commit}:synckairos/store/lua/{name}.lua"
        return subprocess.run(["git", "show", path], check=True, capture_output=True, text=True).stdout

    text = read("commit")
    return "\n".join([*map(read, re.findall(r"^-- uses (\w+)$", text, re.MULTILINE)), text])


class ComparedScript:
    """One version of the commit script, with its own sessions."""

    def __init__(self, pipe: RedisPipe, text: str, settings: Settings) -> None:
        self._pipe = pipe
        self._text = text
        self._keys_taken, self._arguments_taken = (
            len(re.findall(rf"^local \w+ = {source}\[\d+\]", text, re.MULTILINE)) for source in ("KEYS", "ARGV")
        )
        self._keys = Keys(f"commits-{uuid4().hex[:8]}")
        self._builder = CommitScript(self._keys, settings.history_length, OutboxLimits.from_settings(settings))
        self._builder.history_format.is_packed = True
        self._outbox = Outbox(pipe, self._keys)
        self._players: list[Player] = []
        self._sha = b""

    async def start_sessions(self, count: int) -> None:
        """Load the script, and create and start `count` sessions."""
        self._sha = await self._pipe.call("SCRIPT", "LOAD", self._text)
        for _ in range(count):
            now_ms = time.time_ns() // 1_000_000
            participants = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(2))
            spec = Create(SyncMode.PER_PARTICIPANT, participants)
            transition = creation.create(spec, str(uuid4()), secrets.token_hex(8), now_ms)
            version = build_version(transition, CommitCause("anonymous", "create"))
            prepared = prepare_commit(transition.state.session_id, None, [version], transition.state)
            player = Player(RenderedSession.render(transition.state), prepared.stored, now_ms)
            self._players.append(player)
            commands = [self._build_command(self._builder.build_call(prepared.commit))]
            commands.append(self._command_for(player, Start(), "start", with_command_id=False))
            await self._send(commands)

    async def run_round(self, switches: int, *, with_command_id: bool) -> float:
        """Switch each session `switches` times. Return Valkey's processor time for one commit in µs."""
        commands = [
            self._command_for(player, Switch(), "switch", with_command_id=with_command_id)
            for _ in range(switches)
            for player in self._players
        ]
        began_us = await self._read_processor_us()
        for first in range(0, len(commands), BATCH):
            await self._send(commands[first : first + BATCH])
        return (await self._read_processor_us() - began_us) / len(commands)

    async def drain(self, kept_entries: int) -> None:
        """Remove the oldest entries from the outbox, as the drain does. `kept_entries` entries stay."""
        while (left := await self._pipe.call("XLEN", self._keys.outbox(0)) - kept_entries) > 0:
            entries = await self._outbox.read(0, min(left, 200), 1 << 30)
            parsed = [entry.parse() for entry in entries]
            newest = {each.session_id: WrittenVersion(each.session_id, each.epoch, each.version) for each in parsed}
            size = sum(entry.size_bytes for entry in entries)
            ids = [each.entry_id for each in entries]
            await self._outbox.remove_written(0, ids, newest.values(), 3_600_000, size_bytes=size)

    def _command_for(
        self, player: Player, command: Start | Switch, verb: str, *, with_command_id: bool
    ) -> RedisCommand:
        player.now_ms += 1_500
        command_id = str(uuid4()) if with_command_id else None
        fingerprint = secrets.token_urlsafe(32)
        transitions = engine.apply(player.rendered.session, command, player.now_ms).all_transitions
        cause = CommitCause("anonymous", verb, command_id=command_id, fingerprint=command_id and fingerprint)
        tag = player.stored.snapshot.tag
        versions, player.rendered = build_versions(transitions, [cause] * len(transitions), player.rendered, tag)
        outcome = None if command_id is None else RecordedOutcome(command_id, fingerprint)
        after = transitions[-1].state
        prepared = prepare_commit(after.session_id, player.stored, versions, after, outcome=outcome)
        player.stored = prepared.stored
        return self._build_command(self._builder.build_call(prepared.commit))

    def _build_command(self, call: ScriptCall) -> RedisCommand:
        keys, args = call
        taken = [*args[: self._arguments_taken], *args[len(CommitArguments._fields) :]]
        return ("EVALSHA", self._sha, self._keys_taken, *keys[: self._keys_taken], *taken)

    async def _send(self, commands: Sequence[RedisCommand]) -> None:
        for reply in await self._pipe.call_many(commands):
            assert reply == [b"ok"], reply

    async def _read_processor_us(self) -> float:
        info: bytes = await self._pipe.call("INFO", "cpu")
        fields = dict(line.split(":") for line in info.decode().split() if ":" in line)
        return sum(float(fields[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys")) * 1e6


async def run(settings: Settings, against: Sequence[str], sessions: int, rounds: int) -> dict[str, Any]:
    """Measure all scripts in each situation. Return the figures by situation."""
    figures: dict[str, Any] = {}
    async with RedisPipe(settings.redis_url, 30) as pipe:
        texts = {PRESENT: LuaScript("commit").text} | {commit: load_script(commit) for commit in against}
        scripts = {name: ComparedScript(pipe, text, settings) for name, text in texts.items()}
        for script in scripts.values():
            await script.start_sessions(sessions)
            # A long session trims its history.
            await script.run_round(settings.history_length, with_command_id=False)
        for situation, kept_entries in (("entries_stay", KEPT_ENTRIES), ("drained", 0)):
            for with_command_id in (False, True):
                times_us: dict[str, list[float]] = {name: [] for name in scripts}
                for _ in range(rounds):
                    for name in random.sample(list(scripts), len(scripts)):
                        await scripts[name].drain(kept_entries)
                        switches = 1 if kept_entries == 0 else 4
                        times_us[name].append(await scripts[name].run_round(switches, with_command_id=with_command_id))
                found = {f"{name}_us": round(statistics.median(each), 1) for name, each in times_us.items()}
                for commit in against:
                    ratios = [one / other for one, other in zip(times_us[PRESENT], times_us[commit], strict=True)]
                    found[f"ratio_to_{commit}"] = round(statistics.median(ratios), 3)
                figures[situation + "_with_command_id" * with_command_id] = found
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests commit_script", description=__doc__)
    parser.add_argument("--against", nargs="*", default=[], metavar="COMMIT", help="commits with scripts to compare")
    parser.add_argument("--sessions", type=int, default=256, help="sessions of each script")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each script and situation")
    options = parser.parse_args()
    with valkey_only() as settings:
        figures = uvloop.run(run(settings, options.against, options.sessions, options.rounds))
    print_result("commit_script", {**figures, "legend": LEGEND})
