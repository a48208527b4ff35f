// The bell of the control page: when the running clock reaches a threshold of `warnings_ms`, the page says so in words, and rings
// if the host wants that. One stroke before zero, two at zero, three after it, as chairs of debates ring.

import { keepChoice } from "../view/dom.js";
import { text } from "../view/texts.js";

const STORAGE_KEY = "synckairos-bell";
const TONE_HZ = 1320;
const STROKE_S = 0.4;
const LOUDNESS = 0.3;

let context = null;

/** Ring at the warnings of a watched session, while `toggle` is set. `words` gets the newest warning of the turn as text. */
export function setUpBell(client, watch, toggle, words) {
  let turn = null; // The turn of the words.
  keepChoice(toggle, STORAGE_KEY, false);
  toggle.onchange = () => {
    // Browsers allow sound only after the user has pressed something on the page.
    if (toggle.checked) (context ??= new AudioContext()).resume();
  };
  watch.onUpdate(({ state, events }) => {
    const isHeld = state.pauses.some(({ reason }) => reason === "hold");
    if (state.turn_number !== turn || isHeld) words.textContent = "";
    turn = state.turn_number;
    for (const event of events.filter(({ type }) => type === "time_warning")) {
      const thresholdMs = thresholdOf(state, remainingMs(client, watch, event));
      if (thresholdMs === null) continue;
      words.textContent = wordsFor(thresholdMs);
      if (toggle.checked) ring(thresholdMs > 0 ? 1 : thresholdMs === 0 ? 2 : 3);
    }
  });
}

/** Return the thresholds of the clock that runs, in ms. */
function thresholdsOf(session) {
  const item = session.plan?.find((each) => each.item_id === session.current_item_id);
  return item?.warnings_ms ?? session.warnings_ms ?? [];
}

/** Return what was left on the clock of an event at its instant. Null while the reading is not known. */
function remainingMs(client, watch, { atMs, participantId }) {
  const reading = watch.reading(watch.state.sync_mode === "individual" ? participantId : undefined);
  const nowMs = client.now();
  return reading?.time_remaining_ms == null || nowMs === null ? null : reading.time_remaining_ms + (nowMs - atMs);
}

/** Return the threshold that is nearest to a time. An event names no threshold, and a message takes some milliseconds. */
function thresholdOf(session, timeMs) {
  const thresholds = thresholdsOf(session);
  if (timeMs === null || thresholds.length === 0) return null;
  return thresholds.reduce((best, each) => (Math.abs(each - timeMs) < Math.abs(best - timeMs) ? each : best));
}

function wordsFor(thresholdMs) {
  if (thresholdMs === 0) return text("status.expired");
  const seconds = Math.abs(Math.round(thresholdMs / 1000));
  const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return text(thresholdMs > 0 ? "control.timeLeft" : "control.timeOver", { time });
}

function ring(strokes) {
  context ??= new AudioContext();
  for (let at = 0; at < strokes; at += 1) {
    const loudness = context.createGain();
    const tone = context.createOscillator();
    const start = context.currentTime + at * STROKE_S;
    loudness.gain.setValueAtTime(LOUDNESS, start);
    loudness.gain.exponentialRampToValueAtTime(0.001, start + STROKE_S);
    tone.frequency.value = TONE_HZ;
    tone.connect(loudness).connect(context.destination);
    tone.start(start);
    tone.stop(start + STROKE_S);
  }
}
