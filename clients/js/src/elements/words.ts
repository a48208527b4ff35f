// What a clock says in words, beside its digits. Pure.
import type { RunningReading, Session, SessionParticipant } from "../index.js";
import { joined, say } from "./texts.js";

type Settings = { periods?: number };

/** Statuses of a participant's clock in `individual`, in the order of a clock's life. */
const CLOCK_STATUSES: NonNullable<SessionParticipant["status"]>[] = ["waiting", "running", "paused", "finished", "expired"];

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
  if (owner?.status !== undefined) return owner.status === "running" ? "" : say(`clock.${owner.status}`);
  if (isIndividual(session) && session.status === "running") return countedStatuses(session);
  switch (session.status) {
    case "pending":
      return say("clock.waiting");
    case "paused":
      return say(session.pauses.some((each) => each.reason === "timeout") ? "clock.pausedAtZero" : "clock.paused");
    case "completed":
      return say("clock.finished");
    case "expired":
    case "cancelled":
      return say(`clock.${session.status}`);
    default:
      return "";
  }
}

function countedStatuses(session: Session): string {
  const counts = CLOCK_STATUSES.map((status) => {
    const n = session.participants.filter((each) => each.status === status).length;
    return n === 0 ? "" : say("clock.counted", { n, status: say(`clock.${status}`) });
  });
  return joined(counts);
}

/** Return the phase of a clock in words, such as `overtime, period 2 of 3`. Empty if there is nothing to say. */
export function phaseWords(session: Session, reading: RunningReading, participantId?: string): string {
  const owner = participantOf(session, participantId);
  const { byoyomi } = (owner?.clock ?? session.clock) as { byoyomi?: Settings };
  const { phase, periods_left: periods, moves_left: moves, stage } = reading;
  const parts: string[] = [];
  if ((reading.time_remaining_ms ?? 0) < 0) parts.push(say("clock.overtime"));
  else if (reading.freeMs > 0) parts.push(say("clock.delay"));
  if (stage !== undefined) parts.push(say("clock.stage", { n: stage + 1 }));
  if (phase === "overtime") parts.push(say("clock.overtime"));
  if (periods !== undefined) {
    const total = byoyomi?.periods ?? periods;
    parts.push(phase === "main" ? say("clock.periodsLeft", { n: periods }) : say("clock.period", { n: total - periods + 1, total }));
  }
  if (moves !== undefined && phase !== "main") parts.push(say("clock.movesLeft", { n: moves }));
  if (owner?.time_factor !== undefined) parts.push(say("clock.factor", { n: owner.time_factor }));
  return joined(parts);
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
  if (passed === 0) return say("clock.expired");
  return passed >= 60 ? say("clock.minutesLeft", { n: passed / 60 }) : say("clock.secondsLeft", { n: passed });
}
