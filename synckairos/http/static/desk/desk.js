// The page /desk/{id}: one large button for one participant, or for two participants at the ends of one phone.

import { AnnouncementDisplay } from "../view/announcement.js";
import { nameOf, openLiveSession, showTitle, turnText } from "../view/live_session.js";
import { hasText, text } from "../view/texts.js";
import { pressOf } from "./press.js";

const OWN_BUDGETS = new Set(["per_participant", "per_group", "individual"]);
const SOUND_KEY = "synckairos-desk-sound";
const VIBRATE_MS = 30;
const HOSTS = new Set(["controller", "admin"]);
const FAULT_TEXTS = {
  TURN_OVER: "desk.turnOver",
  NOT_ACTIVE_PARTICIPANT: "desk.notYourTurn",
};

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const { client, watch, sessionId, end, readCaller } = openLiveSession({ show });
const announcement = new AnnouncementDisplay($("announcement"), () => client.now());
let caller = null; // The answer of GET /v1/me. Null before this answer.
let seats = []; // One for each participant of this page: `{id, element, button, name, clock}`.
let wakeLock = null;

readRole();

async function readRole() {
  caller = await readCaller();
  if (!caller) return;
  if (caller.session_role === "viewer") end(text("desk.notAllowed"));
  else if (watch.shown) show(watch.shown);
}

/** Return the ids of the participants whose buttons this page has: of the credential, or of a host's choice. */
function wantedIds() {
  if (!HOSTS.has(caller.session_role)) return [caller.participant_id];
  return ["participant", "opposite"].map((name) => parameters.get(name)?.toLowerCase()).filter(Boolean);
}

function show(session) {
  showTitle(session);
  announcement.show(session);
  if (!caller) return;
  const ids = wantedIds();
  const missing = ids.some((id) => !session.participants.some((each) => each.participant_id === id));
  if (missing) return end(text("desk.unknownParticipant"));
  $("choose").hidden = ids.length > 0;
  $("settings").hidden = ids.length === 0;
  if (ids.length === 0) return showChoice(session);
  if (seats.map(({ id }) => id).join() !== ids.join()) makeSeats(ids, OWN_BUDGETS.has(session.sync_mode));
  $("item").textContent = session.plan ? turnText(session) : "";
  for (const seat of seats) showSeat(seat, session);
  keepAwake(session.status === "running");
}

function makeSeats(ids, haveOwnClocks) {
  seats = ids.map((id) => {
    const element = document.createElement("section");
    const name = document.createElement("h2");
    const clock = document.createElement("sync-clock");
    const button = document.createElement("button");
    button.type = "button";
    if (haveOwnClocks) clock.setAttribute("participant", id);
    clock.setAttribute("session", sessionId);
    clock.toggleAttribute("sound", $("sound").checked);
    element.append(name, clock, button);
    return { id, element, name, clock, button };
  });
  document.documentElement.dataset.seats = String(seats.length);
  // The participant opposite holds the other end of the phone, so its half is the upper one, turned by 180°.
  $("seats").replaceChildren(...seats.map(({ element }) => element).reverse());
}

function showSeat({ id, element, name, button }, session) {
  const participant = session.participants.find((each) => each.participant_id === id);
  const { label, command, args } = pressOf(session, participant);
  name.textContent = nameOf(participant);
  element.setAttribute("aria-label", name.textContent);
  element.toggleAttribute("data-turn", command !== null);
  if (button.textContent !== text(label)) button.textContent = text(label);
  button.setAttribute("aria-disabled", String(command === null));
  button.onclick = command && (() => press(command, args));
}

async function press(command, args) {
  $("fault").textContent = "";
  navigator.vibrate?.(VIBRATE_MS);
  try {
    await watch.command(command, args);
  } catch (error) {
    const name = FAULT_TEXTS[error.code] ?? `error.${error.code}`;
    $("fault").textContent = hasText(name) ? text(name) : error.message;
  }
}

/** Offer the participants to a host that opened the page without one. */
function showChoice(session) {
  $("people").replaceChildren(
    ...session.participants.map((each) => {
      const link = document.createElement("a");
      const url = new URL(location.href);
      url.searchParams.set("participant", each.participant_id);
      link.href = url.href;
      link.textContent = nameOf(each);
      const row = document.createElement("li");
      row.append(link);
      return row;
    }),
  );
  if (session.participants.length === 0) $("choose-title").textContent = text("desk.noParticipants");
}

// -- the device -------------------------------------------------------------------------------------------------------

/** Keep the screen on while the session runs, if the browser can. A page that was hidden has lost the lock. */
async function keepAwake(isWanted) {
  if (!isWanted) {
    wakeLock?.release();
    wakeLock = null;
  } else if (!wakeLock && document.visibilityState === "visible") {
    wakeLock = { release() {} }; // A second request must not begin while the first one waits.
    wakeLock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") wakeLock = null;
  else if (watch.shown) keepAwake(watch.shown.status === "running");
});

try {
  $("sound").checked = localStorage.getItem(SOUND_KEY) === "on";
} catch {
  // Some browsers refuse the storage. The sound is then off.
}
$("sound").onchange = () => {
  for (const { clock } of seats) clock.toggleAttribute("sound", $("sound").checked);
  try {
    localStorage.setItem(SOUND_KEY, $("sound").checked ? "on" : "off");
  } catch {
    // The choice then ends with the page.
  }
};
$("fullscreen").onclick = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {}); // Some browsers and frames have no full screen.
};
