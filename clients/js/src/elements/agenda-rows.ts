// What an agenda shows of a session with a plan at an instant. Pure.
import { expectedStartsMs, isFinal, readSession, type Session } from "../index.js";

/** Offsets of a schedule and differences of an item below this count as none, in ms. */
const NEAR_MS = 1000;

/** One item of an agenda. Times are in ms, instants in ms since the Unix epoch. */
export interface AgendaRow {
  id: string;
  title: string;
  /** Name of the participant that has the turn, empty without one. */
  owner: string;
  status: "pending" | "next" | "running" | "paused" | "done";
  /** Time that the plan gives the item. */
  plannedMs: number;
  /** Time of all turns of the item until now. */
  usedMs: number;
  /** `usedMs` − `plannedMs` of an item that has ended, or runs over. 0 for other items. */
  overMs: number;
  /** Planned start, fixed at the start of the session. Null before, and for items that were added later. */
  plannedStartMs: number | null;
  /** Expected start of a later item. Null for others, and while the server's time is not known. */
  expectedStartMs: number | null;
}

/** An agenda at an instant. */
export interface AgendaView {
  rows: AgendaRow[];
  /** Part of the planned time that is over, from 0 to 1. */
  progress: number;
  /** Milliseconds by which the agenda is late, negative if it is early. Null before the start and after the end. */
  offsetMs: number | null;
  /** Expected end in ms since the Unix epoch. Null after the end, and while the server's time is not known. */
  endMs: number | null;
}

/** Return the agenda of a session, null without a plan. `nowMs` is the server's time, null while it is not known. */
export function agendaOf(session: Session, nowMs: number | null): AgendaView | null {
  const { plan } = session;
  if (!plan) return null;
  const expected = nowMs === null ? new Map<string, number>() : expectedStartsMs(session, nowMs);
  const elapsed = nowMs === null ? 0 : readSession(session, nowMs).time_used_ms - session.time_used_ms;
  const rows = plan.map((item): AgendaRow => {
    const isCurrent = item.status === "running";
    const usedMs = item.time_used_ms + (isCurrent ? elapsed : 0);
    const overMs = usedMs - item.time_ms;
    const hasDifference = item.status === "done" ? Math.abs(overMs) >= NEAR_MS : isCurrent && overMs >= NEAR_MS;
    return {
      id: item.item_id,
      title: item.title ?? item.item_id,
      owner: session.participants.find((each) => each.participant_id === item.participant_id)?.display_name ?? "",
      status: statusOf(session, item.item_id, item.status),
      plannedMs: item.time_ms,
      usedMs,
      overMs: hasDifference ? overMs : 0,
      plannedStartMs: item.planned_start_at ? Date.parse(item.planned_start_at) : null,
      expectedStartMs: expected.get(item.item_id) ?? null,
    };
  });
  return { rows, progress: progressOf(session, rows), offsetMs: offsetOf(session, rows), endMs: endOf(session, rows, nowMs) };
}

function statusOf(session: Session, id: string, status: "pending" | "running" | "done"): AgendaRow["status"] {
  if (id === session.next_item_id) return "next";
  if (status === "running" && isFinal(session)) return "done";
  return status === "running" && session.status === "paused" ? "paused" : status;
}

function progressOf(session: Session, rows: AgendaRow[]): number {
  if (session.status === "completed") return 1;
  const total = rows.reduce((sum, { plannedMs }) => sum + plannedMs, 0);
  const over = rows.reduce((sum, { status, plannedMs, usedMs }) => {
    if (status === "done") return sum + plannedMs;
    return status === "running" || status === "paused" ? sum + Math.min(plannedMs, usedMs) : sum;
  }, 0);
  return total === 0 ? 0 : Math.min(1, over / total);
}

/** Return by how much the next item with a planned start is late; of the last item, by how much it began late. */
function offsetOf(session: Session, rows: AgendaRow[]): number | null {
  if (session.schedule_offset_ms === undefined || isFinal(session)) return null;
  const next = rows.find((each) => each.plannedStartMs !== null && each.expectedStartMs !== null);
  const current = rows.find(({ status }) => status === "running" || status === "paused");
  const offset = next
    ? (next.expectedStartMs as number) - (next.plannedStartMs as number)
    : session.schedule_offset_ms + Math.max(0, current?.overMs ?? 0);
  return Math.abs(offset) < NEAR_MS ? 0 : offset;
}

function endOf(session: Session, rows: AgendaRow[], nowMs: number | null): number | null {
  if (nowMs === null || isFinal(session)) return null;
  const last = rows.findLast((each) => each.expectedStartMs !== null);
  if (last) return (last.expectedStartMs as number) + last.plannedMs;
  return nowMs + Math.max(0, readSession(session, nowMs).time_remaining_ms ?? 0);
}
