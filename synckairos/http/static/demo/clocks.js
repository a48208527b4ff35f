// Readings of all modes and clock systems at an instant. These functions are pure: they read no clock and keep no state.
//
// `tests/vectors/readings.json` has the values that these functions must return. The server's engine made the file.

const OWN_BUDGETS = new Set(["per_participant", "per_group"]);

/** Return the milliseconds for which the running clock of a session has run since its anchor; 0 if no clock runs. */
export function runMs(state, serverNowMs) {
  if (!state.cycle_started_at) return 0;
  const isOpenEnded = state.on_timeout === "overtime" || !state.deadline_at;
  const untilMs = isOpenEnded ? serverNowMs : Math.min(serverNowMs, Date.parse(state.deadline_at));
  return Math.max(0, untilMs - Date.parse(state.cycle_started_at));
}

/** Return the session's own times: used time, and remaining time. The remaining time is null without an own budget. */
export function readSession(state, serverNowMs) {
  const elapsed = runMs(state, serverNowMs);
  if (state.ends_at) return { time_used_ms: state.time_used_ms + elapsed, time_remaining_ms: untilEndMs(state, serverNowMs) };
  const hasBudget = !OWN_BUDGETS.has(state.sync_mode) && state.time_remaining_ms !== null;
  return {
    time_used_ms: state.time_used_ms + elapsed,
    time_remaining_ms: hasBudget ? state.time_remaining_ms - elapsed : null,
  };
}

/** Return the milliseconds until the end of a session with `ends_at`. Its clock also runs during a pause. */
function untilEndMs(state, serverNowMs) {
  if (state.session_started_at === null || state.session_completed_at !== null) return state.time_remaining_ms;
  const nowMs = Math.max(serverNowMs, Date.parse(state.cycle_started_at ?? state.updated_at));
  const left = Date.parse(state.ends_at) - nowMs;
  return state.on_timeout === "overtime" ? left : Math.max(0, left);
}

/** Return a participant's times and the facts of its clock, such as `periods_left`. */
export function readParticipant(state, participant, serverNowMs) {
  const elapsed = runMs(state, serverNowMs);
  const isTurn = participant.participant_id === state.active_participant_id;
  const mode = state.sync_mode ?? "per_participant";
  const used = participant.time_used_ms + (isTurn ? elapsed : 0);
  const left = participant.time_remaining_ms;
  if (mode !== "per_participant") {
    const share = mode === "per_cycle" ? left - elapsed : Math.max(0, left - elapsed);
    return { time_used_ms: used, time_remaining_ms: isTurn ? share : left };
  }
  const system = participant.clock ?? state.clock ?? {};
  if (!isTurn) {
    return { time_used_ms: used, time_remaining_ms: "hourglass" in system ? left + elapsed : left, ...facts(participant) };
  }
  return { time_used_ms: used, ...charged(system, left, facts(participant), state.turn?.used_ms ?? 0, elapsed) };
}

/** Return a group's times and the facts of its clock. */
export function readGroup(state, group, serverNowMs) {
  const elapsed = runMs(state, serverNowMs);
  const left = group.time_remaining_ms;
  if (group.group_id !== state.active_group_id) {
    return { time_used_ms: group.time_used_ms, time_remaining_ms: left, ...facts(group) };
  }
  const times = { time_used_ms: group.time_used_ms + elapsed };
  if (state.sync_mode !== "per_group") return { ...times, time_remaining_ms: Math.max(0, left - elapsed) };
  return { ...times, ...charged(state.clock, left, facts(group), state.turn.used_ms, elapsed) };
}

function facts(owner) {
  const kept = ["phase", "periods_left", "moves_left", "stage", "period_moves"];
  return Object.fromEntries(Object.entries(owner.reading ?? {}).filter(([name]) => kept.includes(name)));
}

/** Return the remaining time and the facts of a budget after `elapsed` more milliseconds of the turn. */
function charged(system, left, reading, turnUsed, elapsed) {
  if (elapsed === 0) return { time_remaining_ms: left, ...reading };
  const [name, settings] = Object.entries(system)[0] ?? ["sudden_death", {}];
  switch (name) {
    case "delay":
      return { time_remaining_ms: left - Math.max(0, elapsed - Math.max(0, settings.delay_ms - turnUsed)) };
    case "byoyomi":
      return chargedByoyomi(settings, left, reading, elapsed);
    case "canadian": {
      const after = left - elapsed;
      if (reading.phase !== "main" || after > 0) return { time_remaining_ms: after, ...reading };
      return { time_remaining_ms: settings.period_ms + after, ...reading, phase: "overtime", moves_left: settings.moves };
    }
    case "stages":
      return chargedStages(settings, left, reading, turnUsed, elapsed);
    default:
      return { time_remaining_ms: left - elapsed };
  }
}

function chargedByoyomi({ period_ms: period }, left, reading, elapsed) {
  const isMain = reading.phase === "main";
  if (isMain && elapsed < left) return { time_remaining_ms: left - elapsed, ...reading };
  const further = isMain ? reading.periods_left : Math.max(0, reading.periods_left - 1);
  const rest = left + further * period - elapsed;
  if (rest <= 0) return { time_remaining_ms: rest, phase: "overtime", periods_left: 0 };
  const periods = Math.min(reading.periods_left, Math.ceil(rest / period));
  return { time_remaining_ms: rest - (periods - 1) * period, phase: "overtime", periods_left: periods };
}

function chargedStages(stages, left, reading, turnUsed, elapsed) {
  let { stage } = reading;
  let shown = reading;
  for (;;) {
    const free = Math.max(0, (stages[stage].delay_ms ?? 0) - turnUsed);
    const endsAtZero = stages[stage].at_zero === true && stage + 1 < stages.length;
    if (!endsAtZero || elapsed < free + left) {
      return { time_remaining_ms: left - Math.max(0, elapsed - free), ...shown };
    }
    elapsed -= free + left;
    turnUsed += free + left;
    left = stages[stage].add_ms;
    stage += 1;
    shown = { stage, ...(stages[stage].moves === undefined ? {} : { moves_left: stages[stage].moves }) };
  }
}
