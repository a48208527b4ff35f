// What a clock says in words, beside its digits. Pure.
import type { RunningReading, Session, SessionParticipant } from "../index.js";

export const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? "" : "s"}`;

type Settings = { periods?: number };

/** Words of a participant's clock in `individual`, in the order of a clock's life. */
const CLOCK_WORDS: Record<NonNullable<SessionParticipant["status"]>, string> = {
  waiting: "not started",
  running: "",
  paused: "paused",
  finished: "finished",
  expired: "time is up",
};

/** Return whether each participant has a clock of its own, which runs at the same time as the others. */
export const isIndividual = (session: Session): boolean => session.sync_mode === "individual";

/** Return the participant with an id, undefined for undefined or an id that the session does not have. */
export const participantOf = (session: Session, id: string | undefined): SessionParticipant | undefined =>
  session.participants.find((each) => each.participant_id === id);

/** Return whether the clock of a participant runs, or that of the session without a participant. */
export const isRunning = (session: Session, owner: SessionParticipant | undefined): boolean =>
  owner?.status === undefined ? session.status === "running" : owner.status === "running";

/**
 * Return the status of a clock in words, empty while it runs. In `individual` it is the status of the participant's own
 * clock, and without a participant the number of clocks with each status.
 */
export function statusWords(session: Session, owner?: SessionParticipant): string {
  if (owner?.status !== undefined) return CLOCK_WORDS[owner.status];
  if (isIndividual(session) && session.status === "running") return countedStatuses(session);
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

function countedStatuses(session: Session): string {
  const counts = (Object.keys(CLOCK_WORDS) as (keyof typeof CLOCK_WORDS)[]).map((status) => ({
    words: CLOCK_WORDS[status] || "running",
    count: session.participants.filter((each) => each.status === status).length,
  }));
  return counts.filter(({ count }) => count > 0).map(({ words, count }) => `${count} ${words}`).join(", ");
}

/** Return the phase of a clock in words, such as `overtime, period 2 of 3`. Empty if there is nothing to say. */
export function phaseWords(session: Session, reading: RunningReading, participantId?: string): string {
  const owner = participantOf(session, participantId);
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
  if (owner?.time_factor !== undefined) parts.push(`${owner.time_factor} × time`);
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
