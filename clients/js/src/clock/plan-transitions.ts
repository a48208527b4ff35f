// The items of a plan in the transitions of transitions.ts. Each function changes the draft of its caller. Pure.
import type { PlanItemView, SessionView } from "../generated/schemas.js";
import { instantText } from "./derived-members.js";
import { currentItem } from "./plan.js";

/** Fix the planned starts, and choose the first item. */
export function startPlan(draft: SessionView, atMs: number): void {
  let plannedMs = atMs;
  for (const item of draft.plan ?? []) {
    item.planned_start_at = instantText(plannedMs);
    plannedMs += item.time_ms;
  }
  const first = draft.plan?.[0];
  if (first) draft.next_item_id = first.item_id;
}

/** Return the item that begins next, undefined if there is none. */
export const nextItem = (session: SessionView): PlanItemView | undefined =>
  session.next_item_id === undefined ? undefined : session.plan?.find((each) => each.item_id === session.next_item_id);

/** Choose the item `itemId`, or without it the item after the current item. False if the plan has no such item. */
export function chooseItem(draft: SessionView, itemId: string | undefined): boolean {
  const { plan = [] } = draft;
  const id = itemId ?? plan[plan.findIndex((each) => each.item_id === draft.current_item_id) + 1]?.item_id;
  if (itemId !== undefined && !plan.some((each) => each.item_id === itemId)) return false;
  if (id === undefined || !draft.plan) delete draft.next_item_id;
  else draft.next_item_id = id;
  return true;
}

/** Begin the chosen item, if there is one. */
export function beginItem(draft: SessionView, atMs: number): void {
  const item = nextItem(draft);
  if (!item) return;
  item.status = "running";
  draft.current_item_id = item.item_id;
  delete draft.next_item_id;
  if (item.planned_start_at !== undefined) draft.schedule_offset_ms = atMs - Date.parse(item.planned_start_at);
}

/** End the current item. */
export function endItem(draft: SessionView): void {
  const item = currentItem(draft);
  if (item?.status === "running") item.status = "done";
}

/** Charge time to the current item. */
export function chargeItem(draft: SessionView, elapsedMs: number): void {
  const item = currentItem(draft);
  if (item) item.time_used_ms += elapsedMs;
}

/** Return whether the plan decides who has each turn, because some item names a participant. */
export const namesParticipants = (session: SessionView): boolean =>
  session.plan?.some((each) => each.participant_id !== undefined) ?? false;

/** Return the position of the participant that the next item names, null if it names none or one that has left. */
export function itemPosition(session: SessionView): number | null {
  const id = nextItem(session)?.participant_id;
  const at = session.participants.findIndex((each) => each.participant_id === id);
  return at < 0 ? null : at;
}

/** Return the warning thresholds of the current turn in ms. */
export const thresholdsMs = (session: SessionView): number[] => currentItem(session)?.warnings_ms ?? session.warnings_ms;
