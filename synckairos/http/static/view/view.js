// The page /view/{id}: shows one session and sends no commands. Its options are in its URL, see options.js.

import { AnnouncementDisplay } from "./announcement.js";
import { openLiveSession, showElement, showTitle, turnText } from "./live_session.js";
import { readOptions } from "./options.js";
import { anyOf, text } from "./texts.js";

const OWN_BUDGETS = new Set(["per_participant", "per_group", "individual"]);

const $ = (id) => document.getElementById(id);
const page = document.documentElement;
const { options, faults } = readOptions(new URLSearchParams(location.search));

for (const name of ["theme", "bg"]) if (options[name]) page.dataset[name] = options[name];
page.dataset.hide = options.hide.join(" ");
$("message").hidden = !options.message;
$("message").textContent = options.message ?? "";
if (options.freeze_overtime) for (const id of ["clock", "board"]) $(id).setAttribute("overtime", "frozen");

const { client, sessionId } = openLiveSession({ show, faults: faults.map(faultText) });
const announcement = new AnnouncementDisplay($("announcement"), () => client.now());

/** Return a fault of `readOptions` in words. */
function faultText({ name, choices, ...values }) {
  return text(`option.${name}`, { ...values, choices: choices && anyOf(choices) });
}

function show(session) {
  const layout = layoutOf(session);
  page.dataset.layout = layout;
  page.dataset.rows = rowsOf(session.participants.length);
  page.dataset.status = session.status;
  page.dataset.screen = session.screen ?? "normal";
  announcement.show(session);
  $("dark").hidden = session.screen !== "blackout";
  const title = showTitle(session);
  // Screen readers need a heading also if the screen shows none.
  $("title").classList.toggle("unseen", !title || options.hide.includes("title") || session.screen === "focus");
  const face = (preferred) => ({ session: sessionId, face: options.face ?? preferred });
  showElement($("clock"), layout !== "board", face("stage"));
  showElement($("board"), layout === "board", face("chess"));
  showElement($("agenda"), layout === "agenda" && !options.hide.includes("agenda"), { session: sessionId });
  $("name").textContent = turnText(session);
  $("name").hidden = layout === "board" || $("name").textContent === "" || options.hide.includes("names");
}

/** Return how a session is shown: as one large clock, as a board of clocks, or as a clock with an agenda. */
function layoutOf(session) {
  const hasOneClock = session.active_participant_id !== null && session.sync_mode !== "individual";
  if (session.screen === "focus" && hasOneClock) return "stage";
  if (session.plan) return "agenda";
  return OWN_BUDGETS.has(session.sync_mode) ? "board" : "stage";
}

function rowsOf(count) {
  if (count <= 2) return "two";
  if (count <= 4) return "few";
  return count <= 6 ? "six" : "many";
}
