// What the page shows of a session at an instant. The functions are pure. The SDK calculates the readings.

import { readParticipant } from "./sdk.js";

const FINAL = new Set(["expired", "completed", "cancelled"]);

/** Return whether the session has ended, so that its clocks cannot change any more. */
export const isFinal = (state) => FINAL.has(state.status);

/** Return the milliseconds since the start of this participant's clock; 0 if the clock does not run. */
export function elapsedMs(state, participant, serverNowMs) {
  const runs = state.cycle_started_at !== null && participant.participant_id === state.active_participant_id;
  return runs ? Math.max(0, serverNowMs - Date.parse(state.cycle_started_at)) : 0;
}

/** Return the reading of a participant's clock in milliseconds. It is below 0 only in overtime. */
export function readingMs(state, participant, serverNowMs) {
  const left = readParticipant(state, participant, serverNowMs).time_remaining_ms;
  return state.on_timeout === "overtime" ? left : Math.max(0, left);
}

/** Return whether the budget of this participant has expired. */
export function hasExpired(state, participant) {
  return participant.has_expired || (state.status === "expired" && participant.time_remaining_ms <= 0);
}

/** Milliseconds below which a reading is low. A low reading shows tenths of seconds and has another colour. */
export const LOW_MS = 20_000;

/**
 * Return a reading as text: `digits` rounded down to seconds, and `tenths` of seconds if the reading is low. A reading
 * below 0 has a minus sign, and from 24 hours on the digits begin with the days.
 */
export function formatReading(reading) {
  const ms = Math.abs(reading);
  const seconds = Math.floor(ms / 1000);
  const pad = (number) => String(number).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  const short = `${minutes}:${pad(seconds % 60)}`;
  const long = `${pad(minutes)}:${pad(seconds % 60)}`;
  const digits = days ? `${days}d ${pad(hours)}:${long}` : hours ? `${hours}:${long}` : short;
  const sign = reading < 0 ? "−" : "";
  return { digits: sign + digits, tenths: ms < LOW_MS ? `.${Math.floor(ms / 100) % 10}` : "" };
}

const countTurns = (state) => state.participants.reduce((sum, each) => sum + each.cycle_count, 0);
const countExpired = (state) => state.participants.filter((each) => each.has_expired).length;
const sumBudgets = (state) => state.participants.reduce((sum, each) => sum + each.total_time_ms, 0);

/** Derive the type of the event between two states. States have no event types. */
export function eventBetween(before, after) {
  if (!before) return "state_sync";
  if (before.epoch !== after.epoch) return "session_recovered";
  const isSameRow = before.participants.length === after.participants.length;
  if (isSameRow && !FINAL.has(before.status) && countTurns(after) < countTurns(before)) return "turn_undone";
  if (before.status !== after.status) {
    if (FINAL.has(before.status)) return "session_reopened";
    if (after.status === "running") return before.status === "pending" ? "session_started" : "session_resumed";
    return `session_${after.status}`;
  }
  if (countExpired(before) !== countExpired(after)) return "participant_expired";
  if (before.active_participant_id !== after.active_participant_id || countTurns(before) !== countTurns(after)) {
    return "cycle_switched";
  }
  if (sumBudgets(before) !== sumBudgets(after)) return "time_adjusted";
  if (JSON.stringify(before.metadata) !== JSON.stringify(after.metadata)) return "metadata_updated";
  return "state_update";
}
