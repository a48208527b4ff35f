// The result of `start`, `switch`, `pause` and `resume` before the server has answered. Pure.
//
// These are the same transitions as the server's, on the document instead of the server's values. The vectors in
// tests/vectors/transitions.json hold both to the same documents.
import type { CommandArguments, GroupView, ParticipantView, PauseView, SessionView } from "../generated/schemas.js";
import {
  activeIndex,
  activeParticipant,
  budgetOf,
  groupOf,
  instantText,
  sessionTimeToZeroMs,
  setDerivedMembers,
} from "./derived-members.js";
import {
  beginItem,
  chargeItem,
  chooseItem,
  endItem,
  itemPosition,
  namesParticipants,
  nextItem,
  startPlan,
  thresholdsMs,
} from "./plan-transitions.js";
import type { PredictedCommand } from "./predict.js";
import {
  hasOwnBudgets,
  instantMs,
  isFinal,
  isIndividual,
  isTurnFree,
  readGroup,
  readParticipant,
} from "./readings.js";
import { clockOf, factsOf, replenishAfterFlag, replenishAfterTurn, type Budget } from "./systems.js";

const TIMEOUT = "timeout";
const HOLD = "hold";

/** Number of cycles of a `per_cycle` session that was created without `max_cycles`. */
const MAX_CYCLES = 1000;

/** Milliseconds by which an accepted claim of lag can exceed the lag that the server measured. */
const CLAIM_TOLERANCE_MS = 140;

/**
 * Return the session after a command that takes effect at `nowMs`, the server's time in ms since the Unix epoch. Null if
 * the result cannot be predicted: the command would be refused, would change nothing, or an expiry comes first. In
 * `individual` nothing is predicted, because one command can change many clocks.
 * `measuredLagMs` is the round trip that the server measured, for sessions with lag compensation.
 */
export function predict<Name extends PredictedCommand>(
  session: SessionView,
  command: Name,
  args: CommandArguments[Name],
  nowMs: number,
  measuredLagMs = 0,
): SessionView | null {
  const atMs = Math.max(Math.floor(nowMs), instantMs(session.updated_at) ?? 0);
  if (isFinal(session) || isIndividual(session) || isOverdue(session, atMs) || session.rest) return null;
  const draft = copy(session);
  const after = apply(draft, command, args, atMs, measuredLagMs);
  if (!after) return null;
  after.version = session.version + 1;
  after.updated_at = instantText(atMs);
  return setDerivedMembers(after);
}

function apply(
  draft: SessionView,
  command: PredictedCommand,
  args: CommandArguments[PredictedCommand],
  atMs: number,
  lagMs: number,
): SessionView | null {
  switch (command) {
    case "start":
      return start(draft, atMs);
    case "switch":
      return switchTurn(draft, args as CommandArguments["switch"], atMs, lagMs);
    case "pause":
      return pause(draft, args as CommandArguments["pause"], atMs);
    case "resume":
      return resume(draft, args as CommandArguments["resume"], atMs);
  }
}

const isSecondEdition = (session: SessionView) => session.turn_number !== undefined;
const isHold = (pause: PauseView) => pause.reason === HOLD && pause.paused_by === null;
const isAtZero = (session: SessionView) => session.pauses.some((each) => each.reason === TIMEOUT);

function copy(session: SessionView): SessionView {
  return {
    ...session,
    participants: session.participants.map((each) => ({ ...each })),
    groups: session.groups.map((each) => ({ ...each })),
    ...(session.plan ? { plan: session.plan.map((each) => ({ ...each })) } : {}),
    pauses: [...session.pauses],
    turn: { ...session.turn },
  };
}

function isOverdue(session: SessionView, atMs: number): boolean {
  const ends = session.pauses.map((each) => instantMs(each.lifts_at)).filter((each) => each !== null);
  if (session.status === "paused" && ends.some((each) => each <= atMs)) return true;
  if (session.status === "paused" && session.ends_at === undefined) return false;
  const startMs = session.status === "pending" ? instantMs(session.starts_at) : null;
  if (startMs !== null) return atMs >= startMs;
  const deadlineMs = instantMs(session.deadline_at);
  const active = activeParticipant(session);
  const endsAtDeadline = session.on_timeout !== "overtime" || (active !== undefined && isTurnFree(session, active));
  return endsAtDeadline && deadlineMs !== null && atMs >= deadlineMs;
}

// -- commands ---------------------------------------------------------------------------------------------------------

function start(draft: SessionView, atMs: number): SessionView | null {
  const endMs = instantMs(draft.ends_at);
  if (draft.status !== "pending" || (endMs !== null && atMs >= endMs)) return null;
  if (draft.plan) startPlan(draft, atMs);
  const first = namesParticipants(draft) ? itemPosition(draft) : (activeIndex(draft) ?? nextInRotation(draft, null));
  draft.status = "running";
  draft.session_started_at = instantText(atMs);
  return beginTurn(draft, first, ownBudgetMs(draft), atMs);
}

function switchTurn(
  draft: SessionView,
  args: CommandArguments["switch"],
  atMs: number,
  lagMs: number,
): SessionView | null {
  const held = isSecondEdition(draft) && draft.pauses.some(isHold);
  const atZero = isAtZero(draft);
  if (draft.status === "pending" || (args.hold && !isSecondEdition(draft))) return null;
  if (draft.status === "paused" && !(atZero || held || draft.switch_while_paused)) return null;
  const expectedId = args.current_participant_id;
  if (expectedId !== undefined && expectedId !== draft.active_participant_id) return null;
  if (held) return chooseNext(draft, args.next_participant_id, args.item_id);
  const compensatedMs = compensateLag(draft, args.lag_ms ?? 0, lagMs, atMs);
  charge(draft, atMs - compensatedMs);
  const flagged = hasFlagged(draft);
  const endedAt = activeIndex(draft);
  endTurn(draft, flagged);
  if (!chooseItem(draft, args.item_id)) return null;
  const next = nextPosition(draft, endedAt, args.next_participant_id);
  if (next === undefined) return null;
  if (draft.sync_mode === "per_cycle" && hasEndedLastCycle(draft)) return endSession(draft, atMs);
  const budgetMs = extendSession(draft, flagged, atMs);
  if (args.hold || draft.between_turns === HOLD) return hold(draft, next, budgetMs, atMs);
  beginTurn(draft, next, budgetMs, atMs);
  if (atZero) liftTimeout(draft);
  else if (draft.status === "paused") draft.cycle_started_at = null;
  return draft;
}

function pause(draft: SessionView, args: CommandArguments["pause"], atMs: number): SessionView | null {
  const reason = args.reason ?? "manual";
  if (draft.status === "pending" || draft.pauses.some((each) => each.reason === reason)) return null;
  charge(draft, atMs);
  const maxMs = args.max_ms ?? null;
  const liftsAt = maxMs === null ? null : instantText(atMs + maxMs);
  draft.pauses.push({ reason, paused_at: instantText(atMs), max_ms: maxMs, lifts_at: liftsAt, paused_by: null });
  draft.status = "paused";
  draft.cycle_started_at = null;
  return draft;
}

function resume(draft: SessionView, args: CommandArguments["resume"], atMs: number): SessionView | null {
  const isLifted = (each: PauseView) => args.reason === undefined || args.reason === each.reason;
  const lifted = draft.pauses.filter(isLifted);
  if (draft.status !== "paused" || !lifted.length) return null;
  if (lifted.some((each) => each.reason === TIMEOUT) && !hasTime(draft)) return null;
  draft.pauses = draft.pauses.filter((each) => !isLifted(each));
  if (isSecondEdition(draft) && lifted.some(isHold)) {
    beginTurn(draft, activeIndex(draft), ownBudgetMs(draft), atMs);
  }
  draft.status = draft.pauses.length ? "paused" : "running";
  draft.cycle_started_at = draft.pauses.length ? null : instantText(atMs);
  return draft;
}

function chooseNext(draft: SessionView, nextId: string | undefined, itemId: string | undefined): SessionView | null {
  if (nextId === undefined && itemId === undefined) return null;
  const before = draft.next_item_id;
  if (itemId !== undefined && !chooseItem(draft, itemId)) return null;
  const isChosen = nextId !== undefined || namesParticipants(draft);
  const next = isChosen ? nextPosition(draft, null, nextId) : activeIndex(draft);
  const isSameItem = draft.next_item_id === before;
  if (next === undefined || (next === activeIndex(draft) && isSameItem)) return null;
  return showNextTurn(draft, next, isSameItem ? ownBudgetMs(draft) : (nextItem(draft)?.time_ms ?? null));
}

const hasEndedLastCycle = (ended: SessionView): boolean =>
  ended.plan ? ended.next_item_id === undefined : ended.turn.cycles >= (ended.max_cycles || MAX_CYCLES);

// -- turns ------------------------------------------------------------------------------------------------------------

/** The budget of the session itself, null if participants or groups own the budgets. */
const ownBudgetMs = (session: SessionView) => (hasOwnBudgets(session) ? null : session.time_remaining_ms);

function canGetTurns(session: SessionView, owner: ParticipantView): boolean {
  if (session.on_timeout === "overtime") return true;
  return session.sync_mode === "per_group" ? !groupOf(session, owner)?.has_expired : !owner.has_expired;
}

function nextInRotation(session: SessionView, after: number | null): number | null {
  const owners = session.participants;
  for (let offset = 0; offset < owners.length; offset += 1) {
    const at = ((after ?? -1) + 1 + offset) % owners.length;
    if (canGetTurns(session, owners[at] as ParticipantView)) return at;
  }
  return null;
}

/** Return the position of the next participant, null if the session has none, undefined if the switch is refused. */
function nextPosition(session: SessionView, after: number | null, nextId?: string): number | null | undefined {
  if (namesParticipants(session)) return nextId === undefined ? itemPosition(session) : undefined;
  if (nextId === undefined) {
    const next = nextInRotation(session, after);
    return next === null && session.participants.length ? undefined : next;
  }
  const at = session.participants.findIndex((each) => each.participant_id === nextId);
  return at >= 0 && canGetTurns(session, session.participants[at] as ParticipantView) ? at : undefined;
}

function setActive(draft: SessionView, position: number | null, budgetMs: number | null): void {
  const active = position === null ? undefined : draft.participants[position];
  draft.active_participant_id = active?.participant_id ?? null;
  draft.active_group_id = groupOf(draft, active)?.group_id ?? null;
  if (!hasOwnBudgets(draft)) draft.time_remaining_ms = budgetMs;
}

function beginTurn(draft: SessionView, position: number | null, budgetMs: number | null, atMs: number): SessionView {
  setActive(draft, position, budgetMs);
  beginItem(draft, atMs);
  draft.cycle_started_at = instantText(atMs);
  if (draft.turn_number !== undefined) draft.turn_number += 1;
  const leftMs = sessionTimeToZeroMs(draft);
  const begun = activeParticipant(draft);
  const isFree = begun !== undefined && isTurnFree(draft, begun);
  const reached = leftMs === null || isFree ? [] : thresholdsMs(draft).filter((each) => each >= leftMs);
  const inOvertime = draft.on_timeout === "overtime" && isSecondEdition(draft) && leftMs !== null && leftMs <= 0;
  draft.turn = { used_ms: 0, cycles: draft.turn.cycles, warned_ms: reached, ...(inOvertime ? { overtime: true } : {}) };
  if (isSecondEdition(draft)) draft.turn.began_version = draft.version + 1;
  return draft;
}

function showNextTurn(draft: SessionView, position: number | null, budgetMs: number | null): SessionView {
  setActive(draft, position, budgetMs);
  draft.cycle_started_at = null;
  return draft;
}

function hold(draft: SessionView, position: number | null, budgetMs: number | null, atMs: number): SessionView {
  const pausedAt = instantText(atMs);
  draft.pauses = draft.pauses.filter((each) => each.reason !== TIMEOUT);
  draft.pauses.push({ reason: HOLD, paused_at: pausedAt, max_ms: null, lifts_at: null, paused_by: null });
  draft.status = "paused";
  return showNextTurn(draft, position, budgetMs);
}

function endSession(draft: SessionView, atMs: number): SessionView {
  draft.status = "completed";
  draft.active_participant_id = null;
  draft.active_group_id = null;
  draft.cycle_started_at = null;
  draft.pauses = [];
  draft.session_completed_at = instantText(atMs);
  return draft;
}

function endTurn(draft: SessionView, flagged: boolean): void {
  endItem(draft);
  const usedMs = draft.turn.used_ms;
  const active = activeParticipant(draft);
  const replenish = (clock: ReturnType<typeof clockOf>, budget: Budget) =>
    flagged ? replenishAfterFlag(clock, budget) : replenishAfterTurn(clock, budget, usedMs);
  if (active) {
    const isCharged = !isTurnFree(draft, active);
    active.cycle_count += 1;
    if (draft.sync_mode === "per_participant" && isCharged) {
      setBudget(active, replenish(clockOf(draft, active), budgetOf(active)));
      active.has_expired &&= active.time_remaining_ms <= 0;
    }
    const group = draft.sync_mode === "per_group" ? groupOf(draft, active) : undefined;
    if (group) {
      setBudget(group, replenish(clockOf(draft), budgetOf(group)));
      group.has_expired &&= group.time_remaining_ms <= 0;
    }
  }
  const { began_version: beganVersion } = draft.turn;
  draft.turn = { used_ms: 0, cycles: draft.turn.cycles + 1, warned_ms: [] };
  if (beganVersion !== undefined) draft.turn.began_version = beganVersion;
}

/** Extend a low budget of a soft close, or move a near end. Return the session's own budget of the next turn. */
function extendSession(draft: SessionView, flagged: boolean, atMs: number): number | null {
  const endMs = instantMs(draft.ends_at);
  if (endMs === null) return extend(draft, flagged);
  draft.time_remaining_ms = endMs - atMs;
  const leftMs = extend(draft, flagged);
  if (leftMs !== null) draft.ends_at = instantText(atMs + leftMs);
  return leftMs;
}

/** Extend a low budget of a soft close. Return the session's own budget of the next turn. */
function extend(draft: SessionView, flagged: boolean): number | null {
  const cycleMs = nextItem(draft)?.time_ms ?? draft.time_per_cycle_ms;
  const leftMs = draft.sync_mode === "per_cycle" ? cycleMs : ownBudgetMs(draft);
  const stepMs = draft.extend_on_switch_ms;
  if (stepMs === undefined || leftMs === null || flagged || draft.sync_mode === "per_cycle") return leftMs;
  if (!draft.extensions) return Math.max(leftMs, stepMs);
  const { count = 0, added_ms: addedBeforeMs = 0 } = draft.extensions;
  const isLastUsed = draft.max_extensions !== undefined && count >= draft.max_extensions;
  if (leftMs > (draft.extend_window_ms ?? stepMs) || isLastUsed) return leftMs;
  const wantedMs = draft.extend_by === "add" ? stepMs : stepMs - leftMs;
  const addedMs = Math.min(wantedMs, (draft.max_extension_ms ?? Infinity) - addedBeforeMs);
  if (addedMs <= 0) return leftMs;
  draft.extensions = { count: count + 1, added_ms: addedBeforeMs + addedMs };
  return leftMs + addedMs;
}

function liftTimeout(draft: SessionView): void {
  const rest = draft.pauses.filter((each) => each.reason !== TIMEOUT);
  if (hasTime(draft)) draft.pauses = rest;
  if (!hasTime(draft) || rest.length) draft.cycle_started_at = null;
  else draft.status = "running";
}

// -- time -------------------------------------------------------------------------------------------------------------

function setBudget(owner: ParticipantView | GroupView, { leftMs, facts }: Budget): void {
  owner.time_remaining_ms = leftMs;
  owner.reading = facts;
}

function hasTime(session: SessionView): boolean {
  const leftMs = sessionTimeToZeroMs(session);
  return leftMs === null || leftMs > 0;
}

function hasFlagged(charged: SessionView): boolean {
  if (isAtZero(charged)) return true;
  const leftMs = charged.on_timeout === "overtime" ? sessionTimeToZeroMs(charged) : null;
  return leftMs !== null && leftMs <= 0;
}

/** Charge the time from the anchor to `atMs`. */
function charge(draft: SessionView, atMs: number): void {
  const anchorMs = instantMs(draft.cycle_started_at);
  if (anchorMs === null || atMs <= anchorMs) return;
  const elapsed = atMs - anchorMs;
  const before = { ...draft, deadline_at: null };
  for (const owner of draft.participants) setTimes(owner, readParticipant(before, { ...owner }, atMs));
  for (const owner of draft.groups) setTimes(owner, readGroup(before, { ...owner }, atMs));
  draft.time_used_ms += elapsed;
  chargeItem(draft, elapsed);
  if (!hasOwnBudgets(draft) && draft.time_remaining_ms !== null) draft.time_remaining_ms -= elapsed;
  draft.turn.used_ms += elapsed;
  draft.cycle_started_at = instantText(atMs);
}

function setTimes(owner: ParticipantView | GroupView, reading: ReturnType<typeof readParticipant>): void {
  owner.time_used_ms = reading.time_used_ms;
  owner.time_remaining_ms = reading.time_remaining_ms ?? 0;
  owner.reading = factsOf({ reading });
}

/** Charge the lag account of the active participant and set the receipt. Return the time that is not charged, in ms. */
function compensateLag(draft: SessionView, claimedMs: number, measuredMs: number, atMs: number): number {
  const active = activeParticipant(draft);
  const account = active?.lag;
  if (!active || !account) return 0;
  const anchorMs = instantMs(draft.cycle_started_at);
  const elapsed = anchorMs === null ? 0 : Math.max(0, atMs - anchorMs);
  const trusted = Math.min(claimedMs, measuredMs + CLAIM_TOLERANCE_MS);
  const { quota_ms: quota, gain_ms: gain, compensated_ms: before } = account as Required<typeof account>;
  const compensated = Math.min(trusted, quota, elapsed);
  const quotaLeft = Math.min(quota + gain - compensated, 7 * gain);
  active.lag = { quota_ms: quotaLeft, gain_ms: gain, compensated_ms: before + compensated };
  draft.lag_receipt = {
    participant_id: active.participant_id,
    elapsed_ms: elapsed,
    trusted_lag_ms: trusted,
    compensated_ms: compensated,
    charged_ms: elapsed - compensated,
    quota_left_ms: quotaLeft,
  };
  return compensated;
}
