// The page /view/{id}: shows one session and sends no commands. Its options are in its URL, see options.js.

import { hasToken, takeTokenFromFragment } from "../demo/credential.js";
import { Refusal, makeTicket } from "../demo/rest.js";
import { connect, setDefaultClient } from "../demo/sdk.js";
import { readOptions } from "./options.js";

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TICKET_TIMEOUT_MS = 4_000;
const TOO_MANY_CONNECTIONS = 4520; // Close code.
const OWN_BUDGETS = new Set(["per_participant", "per_group", "individual"]);

const $ = (id) => document.getElementById(id);
const page = document.documentElement;
const { options, faults } = readOptions(new URLSearchParams(location.search));
const sessionId = location.pathname.toLowerCase().match(UUID)[0];
let isEnded = false;
let faultText = faults.length ? `This link has a fault: ${faults.join("; ")}.` : "";

takeTokenFromFragment();
for (const name of ["theme", "bg"]) if (options[name]) page.dataset[name] = options[name];
page.dataset.hide = options.hide.join(" ");
$("message").hidden = !options.message;
$("message").textContent = options.message ?? "";
if (options.freeze_overtime) for (const id of ["clock", "board"]) $(id).setAttribute("overtime", "frozen");

const client = connect(new URL("..", import.meta.url).href, hasToken() ? { getTicket } : {});
setDefaultClient(client);
const watch = client.watch(sessionId);
client.onState(showConnection);
watch.subscribe(show);
showConnection(client.state);

async function getTicket() {
  try {
    return await makeTicket(sessionId, TICKET_TIMEOUT_MS);
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) end("The token of this link is not valid any more");
    if (error instanceof Refusal && error.status === 403) end("This link does not reach the session");
    if (error instanceof Refusal && error.status === 404) end("There is no such session");
    throw error;
  }
}

// -- the connection ---------------------------------------------------------------------------------------------------

function showConnection({ status, code }) {
  if (status === "unauthorized") end(hasToken() ? "The token of this link is not valid any more" : "This page needs a link with a token");
  else if (status === "closed" && code === TOO_MANY_CONNECTIONS) end("The server has too many connections. Load the page again later");
  else if (status === "closed") end("The server has ended the connection");
  else if (status === "reconnecting") notify(watch.state ? "Connection lost. The clock continues" : "The server cannot be reached. Trying again", "lost");
  else if (status === "connected" && watch.state) notify("", "live");
}

/** Show a text about the connection, or the faults of the link if there is none. */
function notify(text, state) {
  if (isEnded) return;
  page.dataset.state = state;
  $("notice").textContent = text || faultText;
  $("notice").hidden = $("notice").textContent === "";
}

/** Show that the page has nothing more to show, and why. */
function end(text) {
  if (isEnded) return;
  notify(text, "ended");
  isEnded = true;
  setTimeout(() => client.close());
}

// -- the session ------------------------------------------------------------------------------------------------------

function show() {
  if (watch.error) {
    const { code } = watch.error;
    if (code === "SESSION_NOT_FOUND") end("There is no such session");
    else if (code === "SESSION_DELETED") end("This session was deleted");
    else if (code === "FORBIDDEN" || code === "SUBSCRIPTION_REFUSED") end("This link does not reach the session");
    return;
  }
  const session = watch.shown;
  if (!session) return;
  if (client.state.status === "connected") notify("", "live");
  const layout = layoutOf(session);
  page.dataset.layout = layout;
  page.dataset.rows = rowsOf(session.participants.length);
  page.dataset.status = session.status;
  const title = typeof session.metadata?.title === "string" ? session.metadata.title : "";
  $("title").textContent = title || "Session";
  // Screen readers need a heading also if the screen shows none.
  $("title").classList.toggle("unseen", !title || options.hide.includes("title"));
  document.title = `${title || "Session"} · SyncKairos`;
  showElement($("clock"), layout !== "board", options.face ?? "stage");
  showElement($("board"), layout === "board", options.face ?? "chess");
  showElement($("agenda"), layout === "agenda" && !options.hide.includes("agenda"));
  const active = session.participants.find((each) => each.is_active);
  const item = session.plan?.find((each) => each.item_id === (session.next_item_id ?? session.current_item_id));
  const names = [item && (item.title ?? item.item_id), active?.display_name].filter(Boolean);
  $("name").textContent = names.join(" · ");
  $("name").hidden = layout === "board" || names.length === 0 || options.hide.includes("names");
}

/** Return how a session is shown: as one large clock, as a board of clocks, or as a clock with an agenda. */
function layoutOf(session) {
  if (session.plan) return "agenda";
  return OWN_BUDGETS.has(session.sync_mode) ? "board" : "stage";
}

function rowsOf(count) {
  if (count <= 2) return "two";
  return count <= 6 ? "few" : "many";
}

function showElement(element, isShown, face) {
  element.hidden = !isShown;
  if (!isShown) return;
  if (face && element.getAttribute("face") !== face) element.setAttribute("face", face);
  if (element.getAttribute("session") !== sessionId) element.setAttribute("session", sessionId);
}
