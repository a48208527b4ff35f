// The plan of a session: which item is current, and when its items are expected to begin. Pure.
import type { PlanItemView, SessionView } from "../generated/schemas.js";
import { instantMs, isFinal } from "./readings.js";

/** Return the item of the most recently begun turn, null before the start or without a plan. */
export const currentItem = (session: SessionView): PlanItemView | null =>
  session.plan?.find((each) => each.item_id === session.current_item_id) ?? null;

/**
 * Return the expected start of each item after the current one by its id, in ms since the Unix epoch, as of the instant
 * `nowMs`. It is the earliest instant at which the item begins if no command shortens an item: a session that is paused,
 * held or pending goes on at `nowMs`, or at its later `starts_at`. An item that runs over ends at `nowMs`.
 */
export function expectedStartsMs(session: SessionView, nowMs: number): Map<string, number> {
  const starts = new Map<string, number>();
  const { plan } = session;
  if (!plan || isFinal(session)) return starts;
  const leftMs = Math.max(0, session.time_remaining_ms ?? 0);
  const anchorMs = instantMs(session.cycle_started_at);
  const isBetween = session.session_started_at === null || session.next_item_id !== undefined;
  const shownId = session.next_item_id ?? (session.session_started_at === null ? plan[0]?.item_id : undefined);
  let atMs = Math.floor(nowMs);
  if (anchorMs !== null) atMs = Math.max(atMs, anchorMs + leftMs);
  else if (!isBetween) atMs += leftMs;
  else if (session.session_started_at === null) atMs = Math.max(atMs, instantMs(session.starts_at) ?? 0);
  const at = plan.findIndex((each) => each.item_id === (shownId ?? session.current_item_id));
  for (const item of plan.slice(shownId === undefined ? at + 1 : at)) {
    starts.set(item.item_id, atMs);
    atMs += item.item_id === shownId ? leftMs : item.time_ms;
  }
  return starts;
}
