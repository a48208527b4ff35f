import { expect, test } from "vitest";
import type { Session } from "../../src/index.js";
import { agendaOf } from "../../src/elements/agenda-rows.js";

const START = Date.parse("2026-11-30T09:00:00.000Z");
const at = (ms: number) => new Date(START + ms).toISOString();

/** A session with three items of 60 s, of which the second runs since 90 s. */
function meeting(changes: Partial<Session> = {}): Session {
  const items = ["one", "two", "three"].map((item_id, index) => ({
    item_id,
    index,
    title: item_id,
    time_ms: 60_000,
    status: (["done", "running", "pending"] as const)[index]!,
    time_used_ms: [90_000, 0, 0][index]!,
    planned_start_at: at(index * 60_000),
  }));
  return {
    sync_mode: "per_cycle",
    status: "running",
    on_timeout: "overtime",
    participants: [],
    groups: [],
    pauses: [],
    clock: {},
    plan: items,
    current_item_id: "two",
    schedule_offset_ms: 30_000,
    session_started_at: at(0),
    cycle_started_at: at(90_000),
    deadline_at: at(150_000),
    time_used_ms: 90_000,
    time_remaining_ms: 60_000,
    ...changes,
  } as unknown as Session;
}

test("an item that ended late delays the agenda by the same time", () => {
  const view = agendaOf(meeting(), START + 100_000);
  expect(view?.offsetMs).toBe(30_000);
  expect(view?.rows.map((each) => each.overMs)).toEqual([30_000, 0, 0]);
  expect(view?.rows.map((each) => each.expectedStartMs)).toEqual([null, null, START + 150_000]);
  expect(view?.endMs).toBe(START + 210_000);
  expect(view?.progress).toBeCloseTo(70 / 180);
});

test("an item that runs over delays the agenda more with each second", () => {
  const view = agendaOf(meeting(), START + 165_000);
  expect(view?.offsetMs).toBe(45_000);
  expect(view?.rows[1]).toMatchObject({ status: "running", usedMs: 75_000, overMs: 15_000 });
  expect(view?.progress).toBeCloseTo(120 / 180);
});

test("the last item counts the time that it runs over", () => {
  const plan = meeting().plan!.map((each, index) => ({ ...each, status: (["done", "done", "running"] as const)[index]! }));
  const last = meeting({ plan, current_item_id: "three", schedule_offset_ms: 5_000 });
  expect(agendaOf(last, START + 160_000)?.offsetMs).toBe(15_000);
  expect(agendaOf(last, START + 160_000)?.endMs).toBe(START + 160_000);
});

test("a pause shows the item as paused, and moves the expected starts", () => {
  const paused = meeting({ status: "paused", cycle_started_at: null, deadline_at: null, time_remaining_ms: 50_000 });
  const view = agendaOf(paused, START + 200_000);
  expect(view?.rows[1]?.status).toBe("paused");
  expect(view?.rows[2]?.expectedStartMs).toBe(START + 250_000);
});

test("before the time is known there are no expected starts", () => {
  const view = agendaOf(meeting(), null);
  expect(view?.endMs).toBeNull();
  expect(view?.offsetMs).toBe(30_000);
});

test("a completed agenda has its whole progress, and no end", () => {
  const view = agendaOf(meeting({ status: "completed", cycle_started_at: null }), START + 500_000);
  expect(view).toMatchObject({ progress: 1, offsetMs: null, endMs: null });
  expect(view?.rows.map((each) => each.status)).toEqual(["done", "done", "pending"]);
});

test("a session without a plan has no agenda", () => {
  const { plan: _, ...without } = meeting();
  expect(agendaOf(without as Session, START)).toBeNull();
});
