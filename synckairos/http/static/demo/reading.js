// What a state says at an instant. Pure: no clock is read here, nothing is kept, nothing ticks.

const FINAL = new Set(["expired", "completed", "cancelled"]);

/** Whether nothing can happen to the clocks of this session any more. */
export const isFinal = (state) => FINAL.has(state.status);

/** Milliseconds since this participant's clock was set going, 0 while it stands. */
export function elapsedMs(state, participant, serverNowMs) {
  const runs = state.cycle_started_at !== null && participant.participant_id === state.active_participant_id;
  return runs ? Math.max(0, serverNowMs - Date.parse(state.cycle_started_at)) : 0;
}

/** The reading of one participant's clock, in milliseconds; never below zero. */
export function readingMs(state, participant, serverNowMs) {
  return Math.max(0, participant.time_remaining_ms - elapsedMs(state, participant, serverNowMs));
}

/** Whether this participant's time ran out. */
export function hasFlagged(state, participant) {
  return participant.has_expired || (state.status === "expired" && participant.time_remaining_ms <= 0);
}

export const LOW_MS = 20_000;

/** A reading as it stands on a clock: rounded down, tenths in the last twenty seconds. */
export function face(ms) {
  const seconds = Math.floor(ms / 1000);
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const digits = hours ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
  return { digits, tenths: ms < LOW_MS ? `.${Math.floor(ms / 100) % 10}` : "" };
}

const pressed = (state) => state.participants.reduce((sum, each) => sum + each.cycle_count, 0);
const expired = (state) => state.participants.filter((each) => each.has_expired).length;
const allotted = (state) => state.participants.reduce((sum, each) => sum + each.total_time_ms, 0);

/** Name what lies between two states of a session. The socket carries states, so the event is read off them. */
export function happened(before, after) {
  if (!before) return "state_sync";
  if (before.epoch !== after.epoch) return "session_recovered";
  if (before.status !== after.status) {
    if (after.status === "running") return before.status === "pending" ? "session_started" : "session_resumed";
    return `session_${after.status}`;
  }
  if (expired(before) !== expired(after)) return "participant_expired";
  if (before.active_participant_id !== after.active_participant_id || pressed(before) !== pressed(after)) {
    return "cycle_switched";
  }
  if (allotted(before) !== allotted(after)) return "time_adjusted";
  if (JSON.stringify(before.metadata) !== JSON.stringify(after.metadata)) return "metadata_updated";
  return "state_update";
}
