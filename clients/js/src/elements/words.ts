// What a clock says in words, beside its digits. Pure.
import type { RunningReading, Session } from "../index.js";

const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? "" : "s"}`;

type Settings = { periods?: number };

/** Return the status of a session in words, empty while it runs. */
export function statusWords(session: Session): string {
  switch (session.status) {
    case "pending":
      return "not started";
    case "paused":
      return session.pauses.some((each) => each.reason === "timeout") ? "paused at zero" : "paused";
    case "expired":
      return "time is up";
    case "completed":
      return "finished";
    case "cancelled":
      return "cancelled";
    default:
      return "";
  }
}

/** Return the phase of a clock in words, such as `overtime, period 2 of 3`. Empty if there is nothing to say. */
export function phaseWords(session: Session, reading: RunningReading, participantId?: string): string {
  const owner = session.participants.find((each) => each.participant_id === participantId);
  const { byoyomi } = (owner?.clock ?? session.clock) as { byoyomi?: Settings };
  const { phase, periods_left: periods, moves_left: moves, stage } = reading;
  const parts: string[] = [];
  if ((reading.time_remaining_ms ?? 0) < 0) parts.push("overtime");
  else if (reading.freeMs > 0) parts.push("delay");
  if (stage !== undefined) parts.push(`stage ${stage + 1}`);
  if (phase === "overtime") parts.push("overtime");
  if (periods !== undefined) {
    const total = byoyomi?.periods ?? periods;
    parts.push(phase === "main" ? `${plural(periods, "period")} in reserve` : `period ${total - periods + 1} of ${total}`);
  }
  if (moves !== undefined && phase !== "main") parts.push(`${plural(moves, "move")} left`);
  return [...new Set(parts)].join(", ");
}

/** Return the remaining time in ms below which a clock with this initial time is low. */
export function lowTimeMs(initialMs: number): number {
  const seconds = initialMs / 1000;
  return 1000 * Math.min(60, seconds < 60 ? Math.max(2, seconds / 5) : Math.max(10, seconds / 8));
}

const MILESTONES_S = [600, 300, 60, 30, 10, 0];

/** Return what a screen reader says when the remaining time falls from `beforeMs` to `nowMs`. Empty for nothing. */
export function milestoneWords(beforeMs: number, nowMs: number): string {
  const passed = MILESTONES_S.findLast((each) => beforeMs > each * 1000 && nowMs <= each * 1000);
  if (passed === undefined) return "";
  if (passed === 0) return "time is up";
  return passed >= 60 ? `${plural(passed / 60, "minute")} left` : `${passed} seconds left`;
}
