import { expect, test } from "vitest";
import { expectedStartsMs } from "../../src/clock/plan.js";
import { readClock, readGroup, readParticipant, readSession } from "../../src/clock/readings.js";
import type { SessionView } from "../../src/generated/schemas.js";
import { readVectors } from "../vectors.js";

interface Vector {
  name: string;
  now_ms: number;
  session: SessionView;
  expected_starts?: Record<string, number>;
  shown: { participants: Record<string, unknown>; groups: Record<string, unknown> } & Record<string, unknown>;
}

const vectors = readVectors<Vector[]>("readings.json");

test.each(vectors)("reading: $name", ({ session, now_ms, shown }) => {
  const readings = <T>(owners: T[], id: (owner: T) => string, read: (owner: T) => unknown) =>
    Object.fromEntries(owners.map((each) => [id(each), read(each)]));
  expect({
    ...readSession(session, now_ms),
    participants: readings(session.participants, (p) => p.participant_id, (p) => readParticipant(session, p, now_ms)),
    groups: readings(session.groups, (g) => g.group_id, (g) => readGroup(session, g, now_ms)),
  }).toEqual(shown);
});

test.each(vectors)("expected starts: $name", ({ session, now_ms, expected_starts = {} }) => {
  expect([...expectedStartsMs(session, now_ms)]).toEqual(Object.entries(expected_starts));
});

// The speed of a reading says when it changes next, so it must agree with two readings at different instants.
test.each(vectors)("speed: $name", ({ session, now_ms }) => {
  for (const id of [undefined, ...session.participants.map((each) => each.participant_id)]) {
    const now = readClock(session, id, now_ms);
    const soon = readClock(session, id, now_ms + 1);
    if (!now || !soon) throw new Error("every participant has a reading");
    const isCountUp = session.sync_mode === "count_up";
    const member = isCountUp ? "time_used_ms" : "time_remaining_ms";
    const crossesPeriod = JSON.stringify({ ...now, ...TIMES }) !== JSON.stringify({ ...soon, ...TIMES });
    if (crossesPeriod && now.freeMs === 0) continue;
    const change = (soon[member] ?? 0) - (now[member] ?? 0);
    expect(change).toBe(now.freeMs > 0 ? 0 : now.rateMs / 1000);
  }
});

const TIMES = { time_used_ms: 0, time_remaining_ms: 0, freeMs: 0 };

test("a participant that the session does not have has no reading", () => {
  const [vector] = vectors;
  expect(readClock(vector!.session, "0198c0de-0000-7000-8000-00000000ffff", vector!.now_ms)).toBeNull();
});
