// The plan of a session: which item is current, and when its items are expected to begin. Pure.
import type { PlanItemView, SessionView } from "../generated/schemas.js";
import { instantMs, isFinal } from "./readings.js";
import { endOfRunningTimeMs } from "./rest-days.js";

/** Return the item of the most recently begun turn, null before the start or without a plan. */
export const currentItem = (session: SessionView): PlanItemView | null =>
  session.plan?.find((each) => each.item_id === session.current_item_id) ?? null;

/**
 * Return the expected start of each item after the current one by its id, in ms since the Unix epoch, as of the instant
 * `nowMs`. It is the earliest instant at which the item begins if no command shortens an item: a session that is paused,
 * held or pending goes on at `nowMs`, or at its later `starts_at`. The clock stands still on rest days. An item that runs
 * over ends at `nowMs`.
 */
export function expectedStartsMs(session: SessionView, nowMs: number): Map<string, number> {
  const starts = new Map<string, number>();
  const { plan, rest } = session;
  if (!plan || isFinal(session)) return starts;
  const leftMs = Math.max(0, session.time_remaining_ms ?? 0);
  const isPending = session.status === "pending";
  // The item that begins next, before the start or in a hold. Otherwise the current item goes on.
  const shownId = session.next_item_id ?? (isPending && plan[0]?.item_id);
  let atMs = Math.floor(nowMs);
  const fromMs = instantMs(isPending ? session.starts_at : session.cycle_started_at) ?? atMs;
  atMs = Math.max(atMs, shownId ? fromMs : endOfRunningTimeMs(rest, fromMs, leftMs));
  let isNext = false;
  for (const { item_id, time_ms } of plan) {
    if (isNext || item_id === shownId) {
      starts.set(item_id, atMs);
      atMs = endOfRunningTimeMs(rest, atMs, item_id === shownId ? leftMs : time_ms);
    }
    isNext ||= item_id === (shownId || session.current_item_id);
  }
  return starts;
}
