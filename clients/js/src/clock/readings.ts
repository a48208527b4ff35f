// Readings of a session's clocks at an instant, calculated from the facts of the session's document. Pure.
import type { GroupView, ParticipantView, SessionView } from "../generated/schemas.js";
import { chargeElapsed, clockOf, factsOf, freeTimeLeftMs, type ClockFacts } from "./systems.js";

/** What a clock shows at an instant. The names are those of the session's document. */
export interface ClockReading extends ClockFacts {
  /** Used time in ms. */
  time_used_ms: number;
  /** Remaining time in ms, null without a time limit. It is below 0 only in overtime. */
  time_remaining_ms: number | null;
}

/** What a clock shows at an instant, and how the shown time changes. */
export interface RunningReading extends ClockReading {
  /** Change of the remaining time in ms per second: −1000, 0 or 1000 (hourglass). In a count-up: of the used time. */
  rateMs: -1000 | 0 | 1000;
  /** Milliseconds of free time that are left, during which the remaining time stands still. */
  freeMs: number;
}

/** Return an instant of a document in ms since the Unix epoch, null for null. */
export const instantMs = (text: string | null | undefined): number | null => (text ? Date.parse(text) : null);

/** Return whether a session with this status has ended. */
export const isFinal = (session: SessionView): boolean =>
  session.status === "expired" || session.status === "completed" || session.status === "cancelled";

/** Return whether participants or groups own the budgets, and not the session. */
export const hasOwnBudgets = (session: SessionView): boolean =>
  session.sync_mode === "per_participant" || session.sync_mode === "per_group";

/** Return the turn number that a turn guard names. The first edition counts ended turns plus 1. */
export const turnNumber = (session: SessionView): number => session.turn_number ?? session.turn.cycles + 1;

/**
 * Return the milliseconds for which the running clock has run since its anchor, 0 if no clock runs. Time after a deadline
 * counts only in overtime, because the server decides the effect of the deadline.
 */
export function elapsedMs(session: SessionView, nowMs: number): number {
  const anchorMs = instantMs(session.cycle_started_at);
  if (anchorMs === null) return 0;
  const deadlineMs = session.on_timeout === "overtime" ? null : instantMs(session.deadline_at);
  return Math.max(0, Math.floor(Math.min(nowMs, deadlineMs ?? Infinity)) - anchorMs);
}

/**
 * Return the milliseconds until the end of a session with `ends_at`, null before the start. Its clock also runs during a
 * pause. Without overtime the result is not below 0, because the server decides the effect of the end.
 */
function untilEndMs(session: SessionView, nowMs: number): number | null {
  if (session.session_started_at === null || isFinal(session)) return session.time_remaining_ms;
  const fromMs = instantMs(session.cycle_started_at ?? session.updated_at) ?? 0;
  const leftMs = (instantMs(session.ends_at) ?? 0) - Math.max(fromMs, Math.floor(nowMs));
  return session.on_timeout === "overtime" ? leftMs : Math.max(0, leftMs);
}

/** Return whether each participant has a clock of its own, which runs at the same time as the others. */
export const isIndividual = (session: SessionView): boolean => session.sync_mode === "individual";

/** Return whether a clock of a session runs: it has an anchor, or it has an end and is paused. */
export const clockRuns = (session: SessionView): boolean =>
  isIndividual(session)
    ? session.participants.some((each) => individualClockRuns(each))
    : session.cycle_started_at !== null || (session.ends_at !== undefined && session.status === "paused");

/** Return whether the clock of a participant in `individual` shows a time that changes. */
export const individualClockRuns = (participant: ParticipantView): boolean =>
  participant.anchor_at !== undefined || participant.ends_at !== undefined;

/** Return the times of a participant's clock in `individual`. Without overtime the reading is not below 0. */
function readIndividual(session: SessionView, participant: ParticipantView, nowMs: number): ClockReading {
  const { time_used_ms: usedMs, time_remaining_ms: leftMs } = participant;
  const anchorMs = instantMs(participant.anchor_at);
  const endMs = instantMs(participant.ends_at) ?? (anchorMs === null ? null : anchorMs + leftMs);
  if (endMs === null) return { time_used_ms: usedMs, time_remaining_ms: leftMs };
  const untilMs = session.on_timeout === "overtime" ? nowMs : Math.min(nowMs, endMs);
  const atMs = Math.max(Math.floor(untilMs), endMs - leftMs);
  const elapsed = anchorMs === null ? 0 : atMs - anchorMs;
  return { time_used_ms: usedMs + elapsed, time_remaining_ms: endMs - atMs };
}

/** Return the times of the session itself. The remaining time is null if participants or groups own the budgets. */
export function readSession(session: SessionView, nowMs: number): ClockReading {
  if (isIndividual(session)) return readAllClocks(session, nowMs);
  const elapsed = elapsedMs(session, nowMs);
  if (session.ends_at !== undefined) {
    return { time_used_ms: session.time_used_ms + elapsed, time_remaining_ms: untilEndMs(session, nowMs) };
  }
  const leftMs = hasOwnBudgets(session) ? null : session.time_remaining_ms;
  return {
    time_used_ms: session.time_used_ms + elapsed,
    time_remaining_ms: leftMs === null ? null : leftMs - elapsed,
  };
}

/** Return the sums of all clocks in `individual`. Participants that have left count in the used time. */
function readAllClocks(session: SessionView, nowMs: number): ClockReading {
  const sum = { time_used_ms: session.time_used_ms, time_remaining_ms: session.time_remaining_ms };
  for (const each of session.participants) {
    const reading = readIndividual(session, each, nowMs);
    sum.time_used_ms += reading.time_used_ms - each.time_used_ms;
    if (sum.time_remaining_ms !== null) sum.time_remaining_ms += (reading.time_remaining_ms ?? 0) - each.time_remaining_ms;
  }
  return sum;
}

/** Return whether the turn of a participant is a free first turn, which is charged to no budget. */
export function isTurnFree(session: SessionView, participant: ParticipantView): boolean {
  return session.free_first_turn !== undefined && participant.cycle_count === 0;
}

/** Return the times of a participant's own clock and its facts. */
export function readParticipant(session: SessionView, participant: ParticipantView, nowMs: number): ClockReading {
  if (isIndividual(session)) return readIndividual(session, participant, nowMs);
  const elapsed = elapsedMs(session, nowMs);
  const hasTurn = participant.participant_id === session.active_participant_id;
  const usedMs = participant.time_used_ms + (hasTurn ? elapsed : 0);
  const leftMs = participant.time_remaining_ms;
  if (session.sync_mode !== "per_participant") {
    const shareMs = session.sync_mode === "per_cycle" ? leftMs - elapsed : Math.max(0, leftMs - elapsed);
    return { time_used_ms: usedMs, time_remaining_ms: hasTurn ? shareMs : leftMs };
  }
  const clock = clockOf(session, participant);
  const budget = { leftMs, facts: factsOf(participant) };
  if (!hasTurn && clock.hourglass) budget.leftMs += elapsed;
  const isCharged = hasTurn && !isTurnFree(session, participant);
  const after = isCharged ? chargeElapsed(clock, budget, session.turn.used_ms, elapsed) : budget;
  return { time_used_ms: usedMs, time_remaining_ms: after.leftMs, ...after.facts };
}

/** Return the times of a group's clock and its facts. */
export function readGroup(session: SessionView, group: GroupView, nowMs: number): ClockReading {
  const hasTurn = group.group_id === session.active_group_id;
  const elapsed = hasTurn ? elapsedMs(session, nowMs) : 0;
  const leftMs = group.time_remaining_ms;
  const usedMs = group.time_used_ms + elapsed;
  if (session.sync_mode !== "per_group") {
    return { time_used_ms: usedMs, time_remaining_ms: hasTurn ? Math.max(0, leftMs - elapsed) : leftMs };
  }
  const after = chargeElapsed(clockOf(session), { leftMs, facts: factsOf(group) }, session.turn.used_ms, elapsed);
  return { time_used_ms: usedMs, time_remaining_ms: after.leftMs, ...after.facts };
}

const still = (reading: ClockReading): RunningReading => ({ ...reading, rateMs: 0, freeMs: 0 });

/**
 * Return the reading of one clock and its speed; null if the session has no such participant.
 *
 * With an id the clock is the own clock of this participant, in `per_group` the clock of its group. Without an id it is
 * the clock that runs, or that would run after a start or resume.
 */
export function readClock(session: SessionView, participantId: string | undefined, nowMs: number): RunningReading | null {
  const id = participantId ?? (hasOwnBudgets(session) ? session.active_participant_id : undefined);
  const owner = session.participants.find((each) => each.participant_id === id);
  if (participantId !== undefined && !owner) return null;
  if (isIndividual(session)) return readIndividualClock(session, owner, nowMs);
  const runs = session.cycle_started_at !== null && !isPastDeadline(session, nowMs);
  if (!owner) return runRate(session, readSession(session, nowMs), clockRuns(session) && !isPastDeadline(session, nowMs));
  const hasTurn = owner.participant_id === session.active_participant_id;
  if (session.sync_mode === "per_group") return readGroupOf(session, owner, nowMs, runs);
  const reading = readParticipant(session, owner, nowMs);
  if (session.sync_mode !== "per_participant") {
    const isSpentShare = session.sync_mode === "global" && reading.time_remaining_ms === 0;
    return runRate(session, reading, runs && hasTurn && !isSpentShare);
  }
  const clock = clockOf(session, owner);
  if (!runs || (!hasTurn && !clock.hourglass)) return still(reading);
  if (!hasTurn) return { ...reading, rateMs: 1000, freeMs: 0 };
  if (isTurnFree(session, owner)) {
    const usedMs = session.turn.used_ms + elapsedMs(session, nowMs);
    return { ...reading, rateMs: -1000, freeMs: (session.free_first_turn?.limit_ms ?? 0) - usedMs };
  }
  return withFreeTime(session, clock, reading, nowMs);
}

/** Return the reading of a participant's clock in `individual` and its speed. The session itself has no clock there. */
function readIndividualClock(session: SessionView, owner: ParticipantView | undefined, nowMs: number): RunningReading {
  if (!owner) return still({ ...readSession(session, nowMs), time_remaining_ms: null });
  const reading = readIndividual(session, owner, nowMs);
  const isAtZero = session.on_timeout !== "overtime" && reading.time_remaining_ms === 0;
  return runRate(session, reading, individualClockRuns(owner) && !isAtZero);
}

function readGroupOf(session: SessionView, owner: ParticipantView, nowMs: number, runs: boolean): RunningReading {
  const group = session.groups.find((each) => each.group_id === owner.group_id);
  if (!group) return still(readParticipant(session, owner, nowMs));
  const reading = readGroup(session, group, nowMs);
  if (!runs || group.group_id !== session.active_group_id) return still(reading);
  return withFreeTime(session, clockOf(session), reading, nowMs);
}

function withFreeTime(session: SessionView, clock: ReturnType<typeof clockOf>, reading: ClockReading, nowMs: number) {
  const usedMs = session.turn.used_ms + elapsedMs(session, nowMs);
  return { ...reading, rateMs: -1000 as const, freeMs: freeTimeLeftMs(clock, reading, usedMs) ?? 0 };
}

function runRate(session: SessionView, reading: ClockReading, runs: boolean): RunningReading {
  if (!runs) return still(reading);
  return { ...reading, rateMs: session.sync_mode === "count_up" ? 1000 : -1000, freeMs: 0 };
}

function isPastDeadline(session: SessionView, nowMs: number): boolean {
  const deadlineMs = instantMs(session.deadline_at);
  return deadlineMs !== null && session.on_timeout !== "overtime" && nowMs >= deadlineMs;
}
