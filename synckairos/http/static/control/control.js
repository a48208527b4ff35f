// The page /control/{id}: a host controls one session. What the role of the caller does not allow is not on the page.

import { uuid } from "../demo/requests.js";
import { AnnouncementDisplay } from "../view/announcement.js";
import { $, confirmStep } from "../view/dom.js";
import { nameOf, openLiveSession, showElement, showTitle, turnText } from "../view/live_session.js";
import { hasText, text } from "../view/texts.js";
import { isFinal, itemAction, participantActions, sessionActions } from "./actions.js";
import { LinkMaker } from "./link_maker.js";
import { setUpShortcuts } from "./shortcuts.js";

const OWN_BUDGETS = new Set(["per_participant", "per_group", "individual"]);
const HOSTS = new Set(["controller", "admin"]);
const MINUTE_MS = 60_000;

const page = document.documentElement;
const { client, watch, sessionId, end, readCaller } = openLiveSession({ show });
const announcement = new AnnouncementDisplay($("announcement"), () => client.now());
let caller = null; // The answer of GET /v1/me. Null before this answer.
let links = null;
let updateEditor = null;

readRole();

/** Read the role of the caller. A caller that may not control the session gets a text and the link to its own page. */
async function readRole() {
  caller = await readCaller();
  if (!caller) return;
  if (HOSTS.has(caller.session_role)) {
    links = new LinkMaker(client, sessionId, caller.kind !== "anonymous");
    if (watch.shown) show(watch.shown);
  } else if (caller.session_role) {
    const isParticipant = caller.session_role === "participant";
    end(`${text("control.notAllowed")} `);
    const other = document.createElement("a");
    other.href = new URL(`../${isParticipant ? "desk" : "view"}/${sessionId}`, import.meta.url).href;
    other.textContent = text(isParticipant ? "control.openDesk" : "control.openView");
    $("notice").append(other);
  }
}

// -- what the page shows ----------------------------------------------------------------------------------------------

function show(session) {
  showTitle(session);
  document.title = text("control.title", { session: $("title").textContent });
  const status = text(`status.${session.status}`);
  const reasons = session.pauses.map(({ reason }) => reason).filter((each) => each !== "manual").map(reasonText).join(text("clock.comma"));
  $("status").hidden = $("clocks").hidden = false;
  $("status").textContent = reasons ? text("status.because", { status, reasons }) : status;
  page.dataset.status = session.status;
  announcement.show(session);
  const isBoard = OWN_BUDGETS.has(session.sync_mode);
  showElement($("clock"), !isBoard, { session: sessionId, face: "stage" });
  showElement($("board"), isBoard, { session: sessionId, face: "chess" });
  $("name").textContent = isBoard ? "" : turnText(session);
  const isHost = HOSTS.has(caller?.session_role);
  $("controls").hidden = $("more").hidden = !isHost;
  if (isHost) showControls(session);
}

/** Return the reason of a pause in words. A host can also write a reason, which is shown as written. */
function reasonText(reason) {
  return hasText(`reason.${reason}`) ? text(`reason.${reason}`) : reason;
}

function showControls(session) {
  showButtons($("actions"), sessionActions(session));
  showRows($("participants"), session.participants, (each) => each.participant_id, (row, each) => {
    const isHere = watch.presence?.participants.includes(each.participant_id) ?? false;
    const name = nameOf(each);
    const hasTurn = each.is_active && !session.close_when_all_done;
    const words = [name, hasTurn ? text("control.hasTurn") : "", isHere ? text("control.isHere") : ""];
    setText(row.firstElementChild, words.filter(Boolean).join(text("clock.comma")));
    showButtons(row.lastElementChild, participantActions(session, each), name);
  });
  $("join").hidden = isFinal(session);
  $("plan").hidden = !session.plan;
  if (session.plan) {
    showElement($("agenda"), true, { session: sessionId });
    showRows($("items"), session.plan, (each) => each.item_id, (row, each) => {
      setText(row.firstElementChild, each.title ?? each.item_id);
      showButtons(row.lastElementChild, [itemAction(session, each)], each.title ?? each.item_id);
    });
  }
  if (session.warnings_ms?.length || session.plan?.some((each) => each.warnings_ms?.length)) showBell();
  $("unannounce").disabled = session.announcement === undefined;
  const mode = session.screen ?? "normal";
  for (const each of $("screens").querySelectorAll("input")) each.checked = each.value === mode;
  const { clients = 0 } = watch.presence ?? {};
  setText($("presence"), text("control.connected", { n: clients }));
  links.update(session);
  updateEditor?.(session);
}

/** The bell is loaded for the first state with warnings. Then it stays on the page, also if a later state has none. */
async function showBell() {
  if (!$("bell-part").hidden) return;
  $("bell-part").hidden = $("warning").hidden = false;
  const { setUpBell } = await import("./bell.js");
  setUpBell(client, watch, $("bell"), $("warning"));
}

/** The editor of the session is loaded when the host opens it, because few hosts need it. */
$("edit").ontoggle = async () => {
  $("edit").ontoggle = null;
  const { showEditor } = await import("./edit.js");
  updateEditor = showEditor($("edit"), send, caller.session_role === "admin" ? confirmAndRemove : null);
  updateEditor(watch.shown);
};

async function confirmAndRemove() {
  if (!(await confirm(text("edit.delete"), text("edit.deleteNote")))) return;
  $("fault").textContent = "";
  await client.api.sessions.delete(sessionId).catch((error) => ($("fault").textContent = error.message));
}

/** Show one row for each item, with a text and a place for buttons. Rows of items that stay keep their elements. */
function showRows(list, items, idOf, fill) {
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const wanted = items.map((each) => {
    const id = idOf(each);
    const row = rows.get(id) ?? document.createElement("li");
    if (!row.firstElementChild) row.append(document.createElement("span"), document.createElement("div"));
    row.dataset.id = id;
    fill(row, each);
    return row;
  });
  if (wanted.some((row, at) => list.children[at] !== row) || list.children.length !== wanted.length) list.replaceChildren(...wanted);
}

/** Show one button for each action. `about` is the name of the participant or item, for screen readers. */
function showButtons(bar, actions, about) {
  const buttons = new Map([...bar.children].map((each) => [each.dataset.action, each]));
  const wanted = actions.map((action) => {
    const button = buttons.get(action.id) ?? document.createElement("button");
    button.type = "button";
    button.dataset.action = action.id;
    button.onclick = () => run(action);
    button.classList.toggle("destructive", Boolean(action.isFinalStep));
    // A disabled button loses the focus, so that a keyboard user would begin at the top of the page again.
    button.setAttribute("aria-disabled", String(!action.isEnabled));
    setText(button, text(action.label));
    if (about) button.setAttribute("aria-label", text("control.about", { action: text(action.label), name: about }));
    return button;
  });
  if (wanted.some((each, at) => bar.children[at] !== each) || bar.children.length !== wanted.length) bar.replaceChildren(...wanted);
}

function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// -- what the host does -----------------------------------------------------------------------------------------------

async function run(action) {
  if (!action.isEnabled) return;
  const turn = action.needsTurn ? watch.shown?.turn_number : undefined;
  if (action.isFinalStep && !(await confirm(text(action.label)))) return;
  await send(action.command, action.args, turn === undefined ? {} : { expectedTurn: turn });
}

/** Send a command. Return whether the server accepted it, else show why it did not. */
async function send(command, args, options = {}) {
  $("fault").textContent = "";
  try {
    await watch.command(command, args, options);
    return true;
  } catch (error) {
    const name = `error.${error.code}`;
    $("fault").textContent = hasText(name) ? text(name) : error.message;
    return false;
  }
}

/** Ask before a step that cannot be taken back. Resolve to whether the host confirmed it. */
function confirm(action, note) {
  return confirmStep(action, note, { question: text("control.confirm", { action }), back: text("control.back") });
}

/** Do what a shortcut names: press a button of the session, or use the page. */
function runShortcut(name) {
  if ($("controls").hidden) return;
  const session = watch.shown;
  if (name === "message") $("text").focus();
  else if (name === "help") $("help").showModal();
  else if (name === "fullscreen") toggleFullScreen();
  else if (name === "blackout") send("screen", { mode: session.screen === "blackout" ? "normal" : "blackout" });
  else {
    const actions = sessionActions(session);
    const wanted = actions.find(({ id }) => id === name) ?? (name === "back" && actions.find(({ id }) => id === "undo"));
    if (wanted) run(wanted);
  }
}

function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else page.requestFullscreen?.().catch(() => {}); // Some browsers and frames have no full screen.
}

$("announce").onsubmit = async (event) => {
  event.preventDefault();
  const minutes = Number($("minutes").value);
  const nowMs = client.now() ?? Date.now();
  const until = minutes ? { until: new Date(nowMs + minutes * MINUTE_MS).toISOString() } : {};
  const args = { text: $("text").value, tone: $("tone").value, flash: $("flash").checked, ...until };
  if (await send("announce", args)) $("text").value = "";
};
$("unannounce").onclick = () => send("announce", { text: null });
$("screens").onchange = ({ target }) => send("screen", { mode: target.value });
$("join").onsubmit = async (event) => {
  event.preventDefault();
  const session = watch.shown;
  const [like] = session.participants;
  const budget = like && ["per_participant", "individual"].includes(session.sync_mode) ? { total_time_ms: like.total_time_ms } : {};
  const group = like?.group_id ? { group_id: like.group_id } : {};
  const args = { participant_id: uuid(), display_name: $("join-name").value, ...budget, ...group };
  if (await send("add_participant", args)) $("join-name").value = "";
};
$("fullscreen").onclick = toggleFullScreen;
$("show-help").onclick = () => $("help").showModal();
$("close-help").onclick = () => $("help").close();
for (const each of $("minutes").options) if (each.value) each.textContent = text("control.minutes", { n: Number(each.value) });
setUpShortcuts($("shortcuts"), runShortcut);
