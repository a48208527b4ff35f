import { expect, inject, test } from "vitest";
import type { CreateSession, Session } from "../../src/index.js";
import { FakeServer } from "../../src/testing/index.js";
import { ADA, BOB, connectTo } from "../helpers.js";

const PEOPLE = [{ participant_id: ADA, display_name: "Ada" }, { participant_id: BOB }];
const RED = "0198c0de-0000-7000-8000-0000000000f1";

test.each<[string, CreateSession]>([
  ["sudden death", { sync_mode: "per_participant", participants: PEOPLE, total_time_ms: 60_000 }],
  ["fischer", { sync_mode: "per_participant", participants: PEOPLE, total_time_ms: 60_000, increment_ms: 2_000 }],
  [
    "byo-yomi",
    {
      sync_mode: "per_participant",
      participants: PEOPLE,
      total_time_ms: 60_000,
      clock: { byoyomi: { periods: 3, period_ms: 10_000 } },
    },
  ],
  [
    "stages",
    {
      sync_mode: "per_participant",
      participants: PEOPLE,
      total_time_ms: 60_000,
      clock: { stages: [{ moves: 40, add_ms: 60_000 }, {}] },
    },
  ],
  ["global", { sync_mode: "global", total_time_ms: 60_000, participants: [], metadata: { room: "a" } }],
  ["cycles", { sync_mode: "per_cycle", time_per_cycle_ms: 30_000, participants: PEOPLE, max_cycles: 5, on_timeout: "expire" }],
  ["count up", { sync_mode: "count_up", max_time_ms: 60_000, participants: PEOPLE }],
  [
    "groups",
    {
      sync_mode: "per_group",
      groups: [{ group_id: RED, total_time_ms: 60_000 }],
      participants: [{ participant_id: ADA, group_id: RED, total_time_ms: 60_000 }],
    },
  ],
])("the fake server makes the same session as the server: %s", async (_, body) => {
  const real = await connectTo(inject("serverUrl")).api.sessions.create(body);
  expect(comparable(new FakeServer().createSession(body))).toEqual(comparable(real));
});

/** Return a session without the values that each server chooses. */
function comparable(session: Session): object {
  const { session_id, epoch, created_at, updated_at, ...common } = session;
  return common;
}
