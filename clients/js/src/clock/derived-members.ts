// The members of a session's document that follow from its other members. Pure.
import type { GroupView, ParticipantView, Reading, SessionView } from "../generated/schemas.js";
import { hasOwnBudgets, instantMs, isTurnFree } from "./readings.js";
import { clockOf, factsOf, freeTimeLeftMs, timeToZeroMs, type Budget } from "./systems.js";

/** Return an instant as text, as in a document. */
export const instantText = (atMs: number): string => new Date(atMs).toISOString();

/** Return the position of the active participant, null if no participant is active. */
export function activeIndex(session: SessionView): number | null {
  const at = session.participants.findIndex((each) => each.participant_id === session.active_participant_id);
  return at < 0 ? null : at;
}

/** Return the active participant, undefined if no participant is active. */
export const activeParticipant = (session: SessionView): ParticipantView | undefined =>
  session.participants[activeIndex(session) ?? -1];

/** Return the group of a participant, undefined if it has none. */
export const groupOf = (session: SessionView, owner: ParticipantView | undefined): GroupView | undefined =>
  session.groups.find((each) => each.group_id === owner?.group_id);

/** Return the budget of a participant or group. */
export const budgetOf = (owner: ParticipantView | GroupView): Budget => ({
  leftMs: owner.time_remaining_ms,
  facts: factsOf(owner),
});

/** Return the milliseconds that the running clock, or the clock that would run, needs to reach zero. Null without a limit. */
export function sessionTimeToZeroMs(session: SessionView): number | null {
  if (!hasOwnBudgets(session)) return untilEndMs(session) ?? session.time_remaining_ms;
  const active = activeParticipant(session);
  if (active && isTurnFree(session, active)) return (session.free_first_turn?.limit_ms ?? 0) - session.turn.used_ms;
  const isGroupClock = session.sync_mode === "per_group";
  const owner = isGroupClock ? groupOf(session, active) : active;
  const clock = clockOf(session, isGroupClock ? undefined : active);
  return owner ? timeToZeroMs(clock, budgetOf(owner), session.turn.used_ms) : null;
}

/** Return the milliseconds from the anchor, or else the last transition, to `ends_at`. Null without it or before the start. */
function untilEndMs(session: SessionView): number | null {
  const endMs = instantMs(session.ends_at);
  if (endMs === null || session.session_started_at === null) return null;
  return endMs - (instantMs(session.session_completed_at ?? session.cycle_started_at ?? session.updated_at) ?? 0);
}

/** Set the derived members of a document that the caller owns, and return it. */
export function setDerivedMembers(draft: SessionView): SessionView {
  const turnAt = draft.status === "pending" ? null : activeIndex(draft);
  draft.participants.forEach((owner, at) => {
    owner.is_active = at === turnAt;
    if (draft.sync_mode === "per_cycle") {
      owner.time_remaining_ms = (at === turnAt ? draft.time_remaining_ms : draft.time_per_cycle_ms) ?? 0;
    }
    owner.total_time_ms = owner.time_used_ms + owner.time_remaining_ms;
    setReading(draft, owner, draft.sync_mode === "per_participant", at === turnAt, owner);
  });
  for (const group of draft.groups) {
    group.total_time_ms = group.time_used_ms + group.time_remaining_ms;
    setReading(draft, group, draft.sync_mode === "per_group", group.group_id === draft.active_group_id);
  }
  if (hasOwnBudgets(draft)) {
    const owners = draft.sync_mode === "per_group" ? draft.groups : draft.participants;
    draft.time_remaining_ms = owners.reduce((sum, each) => sum + each.time_remaining_ms, 0);
  }
  draft.time_remaining_ms = untilEndMs(draft) ?? draft.time_remaining_ms;
  draft.total_time_ms = draft.time_used_ms + (draft.time_remaining_ms ?? 0);
  draft.deadline_at = deadlineText(draft);
  return draft;
}

function deadlineText(draft: SessionView): string | null {
  const leftMs = sessionTimeToZeroMs(draft);
  const anchorMs = instantMs(draft.cycle_started_at);
  if (draft.ends_at !== undefined && draft.status === "paused") return draft.turn.overtime ? null : draft.ends_at;
  if (leftMs === null || anchorMs === null) return null;
  if (draft.on_timeout === "overtime" && (leftMs <= 0 || draft.turn.overtime)) return null;
  return instantText(anchorMs + leftMs);
}

/** Set the member `reading` of a budget's owner, or remove it if the clock needs only a subtraction. */
function setReading(
  draft: SessionView,
  owner: ParticipantView | GroupView,
  ownsBudget: boolean,
  hasTurn: boolean,
  participant?: ParticipantView,
): void {
  const clock = clockOf(draft, participant);
  const facts = factsOf(owner);
  const hasFacts = Object.keys(facts).length > 0;
  const isFree = hasTurn && participant !== undefined && isTurnFree(draft, participant);
  if (!ownsBudget || !(hasFacts || isFree || clock.delay || clock.hourglass)) {
    delete owner.reading;
    return;
  }
  const reading: Reading = facts;
  const anchorMs = instantMs(draft.cycle_started_at);
  const periodMs = clock.byoyomi?.period_ms ?? clock.canadian?.period_ms;
  if (periodMs !== undefined) reading.period_ms = periodMs;
  const limitMs = (draft.free_first_turn?.limit_ms ?? 0) - draft.turn.used_ms;
  const free = isFree ? limitMs : freeTimeLeftMs(clock, facts, draft.turn.used_ms);
  if (free !== undefined) reading.free_until_at = hasTurn && anchorMs !== null ? instantText(anchorMs + free) : null;
  const rate = anchorMs === null ? 0 : 1000;
  if (clock.hourglass) reading.rate_ms = hasTurn && rate ? -rate : rate;
  owner.reading = reading;
}
