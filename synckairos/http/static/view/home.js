// The landing page: a clock from the server's time, and buttons that start a session from a preset.

import { hasToken } from "../demo/credential.js";
import { Refusal, createFromPreset, listPresets, readServerTime } from "../demo/rest.js";

const MINUTE_MS = 60_000;
const SAMPLES = 3;
const FIRST_TICK_MS = 100;

const $ = (id) => document.getElementById(id);
let isStarting = false;

// -- the clock --------------------------------------------------------------------------------------------------------

measureServerTime();
offerPresets();

/** Measure the difference to the server's clock by the fastest of some requests, then show the clock. */
async function measureServerTime() {
  let best = null;
  try {
    for (let at = 0; at < SAMPLES; at += 1) {
      const sentMs = performance.now();
      const serverMs = await readServerTime();
      const roundTripMs = performance.now() - sentMs;
      if (best === null || roundTripMs < best.roundTripMs) best = { roundTripMs, offsetMs: serverMs - sentMs - roundTripMs / 2 };
    }
  } catch {
    $("source").textContent = "The server cannot be reached.";
    return;
  }
  const errorMs = Math.ceil(best.roundTripMs / 2);
  $("source").textContent = `Calculated from the time of the server, ± ${errorMs} ms. It is the same on each device.`;
  tick(best.offsetMs);
}

/** Show the time to the next full minute, and again when its text changes. */
function tick(offsetMs) {
  const leftMs = MINUTE_MS - ((performance.now() + offsetMs) % MINUTE_MS);
  const tenths = Math.floor(leftMs / FIRST_TICK_MS);
  const seconds = Math.floor(tenths / 10);
  $("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}.${tenths % 10}`;
  setTimeout(() => tick(offsetMs), (leftMs % FIRST_TICK_MS) + 1);
}

// -- sessions ---------------------------------------------------------------------------------------------------------

async function offerPresets() {
  try {
    const presets = await listPresets();
    $("preset").replaceChildren(...presets.map(({ name, title }) => new Option(title, name)));
    $("other").hidden = false;
  } catch {
    // The five buttons work without the list.
  }
}

/**
 * Create a session and open its control page. Until that page replaces this one, the buttons do nothing, because a second
 * press would create a second session.
 */
async function start(preset) {
  if (isStarting) return;
  $("fault").textContent = "";
  setStarting(true);
  try {
    const { session_id: id } = await createFromPreset(preset);
    location.assign(new URL(`../control/${id}`, import.meta.url));
  } catch (error) {
    const isRefused = error instanceof Refusal && (error.status === 401 || error.status === 403);
    const text = hasToken() ? "Your credential does not allow to create sessions." : "This server needs a credential. Sign in on the demo page first.";
    $("fault").textContent = isRefused ? text : error.message;
    setStarting(false);
  }
}

function setStarting(value) {
  isStarting = value;
  for (const button of document.querySelectorAll("button")) button.setAttribute("aria-disabled", String(value));
}

// A browser that goes back shows the page as it was, with its buttons.
addEventListener("pageshow", () => setStarting(false));
$("uses").onclick = ({ target }) => target.matches("button") && start(target.value);
$("other").onsubmit = (event) => {
  event.preventDefault();
  start($("preset").value);
};
