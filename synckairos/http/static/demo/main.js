// The demo page: selects the session and the boards, handles buttons and keys, and paints the boards in a frame loop.

import { Agenda } from "./agenda.js";
import { Board } from "./board.js";
import { Clocks, showsClocks } from "./clocks.js";
import { forgetSessions, forgetToken, hasToken } from "./credential.js";
import { seatUrl, setUpJoinDialog, showQrCode } from "./join.js";
import { Link } from "./link.js";
import { hasCredentialInFragment, takeCredentialFromFragment } from "./link_credential.js";
import { elapsedMs, hasExpired, isFinal, readingMs } from "./reading.js";
import { PRESETS, Refusal, createGame, describeCaller, endSessionToken, makeTicket, mergeMetadata, readGame, sendCommand } from "./rest.js";
import { rightsFor } from "./rights.js";
import { hideSignIn, setUpSignIn, showCaller, showSignIn } from "./sign_in.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const UUID_INSIDE = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/; // A link to a game has its id.
const VIEWS = { both: ["white", "black"], white: ["white"], black: ["black"], wall: ["white", "black"] };

const STORAGE_KEY = "synckairos-demo-session";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const only = parameters.get("only")?.toLowerCase().match(UUID)?.[0] ?? null; // The page shows the clock of this participant.
const view = parameters.get("board") in VIEWS ? parameters.get("board") : "both";
let startTimer = 0;
let caller = null; // The answer of GET /v1/me. Its session_role is the role on the game.
let begins = 0; // Number of begun sign-ins. The answers to an earlier one are ignored.
const game = { sessionId: null, links: [], boards: [] };
const clocks = new Clocks($("clocks"), only);
const agenda = new Agenda($("agenda"), () => {
  const state = newestState();
  showRefusalOf(() => sendCommand(game.sessionId, "switch", { expected_turn: state.turn_number }));
});

const rights = () => rightsFor(caller, newestState());

/** Return the newest state that any link has, or null. */
const newestState = () =>
  game.links.map((link) => link.state).reduce((a, b) => (!a || b?.version > a.version ? b : a), null);

/** Return the link that knows the server's time best, undefined without a link. */
const bestLink = () => game.links.toSorted((a, b) => a.errorMs - b.errorMs)[0];

// -- the current game ------------------------------------------------------------------------------------------------

function closeGame() {
  game.links.forEach((link) => link.close());
  game.boards.forEach((board) => board.element.remove());
  game.links = game.boards = [];
}

function openGame(sessionId) {
  closeGame();
  game.sessionId = sessionId;
  if (UUID.test(sessionId)) remember(sessionId);
  showStartRefusal(null);
  $("choose").hidden = true;
  const openLink = () => new Link(sessionId, isSignedIn() ? makeTicket : null, only);
  const shared = view === "wall" ? openLink() : null;
  game.links = shared ? [shared] : [];
  game.boards = VIEWS[view].map((side) => {
    const link = shared ?? openLink();
    if (!shared) game.links.push(link);
    return new Board({ side, link, isWall: view === "wall", rights, onpress, ongive });
  });
  const [first, second] = game.boards;
  $("stage").prepend(first.element);
  if (second) $("stage").append(second.element);
  game.links.forEach((link) => {
    link.addEventListener("state", ({ detail }) => onState(detail));
    link.addEventListener("status", () => onStatus(link));
  });
  if (view === "wall") game.boards.forEach(showSeatCode);
  const url = new URL(location.href);
  url.searchParams.set("session", sessionId);
  history.replaceState(null, "", url);
  showGame();
  readSessionRole(sessionId);
}

/** Read the caller's role on the game. Until the answer arrives, the page shows no button that needs a role. */
async function readSessionRole(sessionId) {
  if (caller.role === "admin") {
    caller.session_role = "admin";
  } else if (UUID.test(sessionId)) {
    const asked = caller;
    asked.session_role = null;
    const status = await showRefusalOf(async () => {
      const { session_role: role } = await describeCaller(sessionId);
      if (game.sessionId === sessionId) asked.session_role = role;
    });
    if (status !== 200) asked.session_role = undefined; // Unknown: the next connection asks again.
  }
  game.boards.forEach((board) => board.show());
  showGame();
}

function onStatus(link) {
  if (link.status === "unauthorized") return signOut(link.unauthorizedReason);
  if (link.status === "live" && caller.session_role === undefined) readSessionRole(game.sessionId);
  showGame();
}

function onState({ before, state, isChange }) {
  if (!isChange) return;
  const next = state.metadata?.next_session_id;
  if (UUID.test(next) && next !== game.sessionId) return openGame(next);
  const expired = state.participants.find((each) => hasExpired(state, each));
  if (expired && before && !before.participants.some((each) => hasExpired(before, each))) {
    announce(`${expired.display_name ?? "A player"}’s time is up.`);
  }
  showGame();
}

function showGame() {
  const state = newestState();
  const isPaused = state?.status === "paused";
  const isGone = game.links.some((link) => link.status === "missing" || link.status === "deleted");
  const isLive = game.links.some((link) => link.status === "live");
  const { create, start, pause, resume } = rights();
  const hasClocks = state !== null && showsClocks(state, only);
  const mayPress = !hasClocks && (start || game.boards.some((board) => board.mayPress()));
  $("pause").hidden = hasClocks || (isPaused ? !resume : !pause);
  $("pause").disabled = !isLive || !["running", "paused"].includes(state?.status);
  $("pause").setAttribute("aria-label", isPaused ? "Resume" : "Pause");
  $("pause").querySelector("use").setAttribute("href", isPaused ? "#icon-play" : "#icon-pause");
  $("new").hidden = !create;
  $("press-key").hidden = !mayPress;
  $("pause-key").hidden = $("pause").hidden;
  $("new").classList.toggle("urgent", isGone || (state !== null && isFinal(state)));
  const client = game.links[0]?.client ?? null;
  clocks.show(state, client, caller, rights());
  agenda.show(state, client, start);
  $("game").textContent = state?.metadata?.time_control ?? (state?.plan ? "Agenda" : hasClocks ? "Clocks" : "Chess clock");
  document.documentElement.dataset.mode = hasClocks ? "clocks" : "game";
  document.documentElement.dataset.status = isGone ? "gone" : (state?.status ?? "waiting");
  keepScreenAwake(state?.status === "running");
}

function showSeatCode(board) {
  showQrCode(board.seat, seatUrl(game.sessionId, board.side));
  board.seat.alt = `QR code: play ${board.side}`;
}

async function startNewGame(preset) {
  const before = newestState();
  const { session_id: sessionId } = await createGame(preset);
  const oldId = game.sessionId;
  openGame(sessionId);
  if (!before) return;
  // Other pages that watch the old session find the new session's id in its metadata, and open the new session. Then
  // cancel the old session.
  await mergeMetadata(oldId, { next_session_id: sessionId });
  if (!isFinal(before)) await sendCommand(oldId, "cancel");
}

// -- buttons and keys ------------------------------------------------------------------------------------------------

function onpress(board) {
  board.nudge();
  if (!board.canPress()) return;
  navigator.vibrate?.(8);
  if (board.mood === "pending") sendFrom(board, "start");
  else sendFrom(board, "switch", { current_participant_id: board.player.participant_id });
}

const ongive = (board) =>
  sendFrom(board, "adjust", { delta_ms: 15_000, participant_ids: [board.player.participant_id] });

function pauseOrResume() {
  const status = newestState()?.status;
  const { pause, resume } = rights();
  if ($("pause").hidden) return;
  if (status === "running" && pause) sendFrom(game.boards[0], "pause");
  if (status === "paused" && resume) sendFrom(game.boards[0], "resume");
}

async function sendFrom(board, verb, body) {
  const sentMs = performance.now();
  const status = await showRefusalOf(() => sendCommand(game.sessionId, verb, body));
  board.tape.addSent(verb, status, performance.now() - sentMs);
}

/** Run an action. If the server refuses the action, show the server's message. Return the status of the response. */
async function showRefusalOf(action) {
  try {
    await action();
    hideNote();
    return 200;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) signOut(error.message);
    else showNote(error.message);
    return error.status || "no answer";
  }
}

function showNote(text) {
  $("note").firstElementChild.textContent = text;
  $("note").hidden = false;
  announce(text);
}

const hideNote = () => ($("note").hidden = true);

/** Announce a text to screen readers. */
const announce = (text) => ($("announcement").textContent = text);

$("note").lastElementChild.onclick = hideNote;
$("pause").onclick = pauseOrResume;
$("again").onclick = () => {
  $("again").disabled = true;
  beginWithFragment();
};
$("choose").onsubmit = (event) => {
  event.preventDefault();
  const id = $("choose-id").value.toLowerCase().match(UUID_INSIDE)?.[0];
  if (id) openGame(id);
  else showNote("This text has no id of a game.");
};
$("new").onclick = () => {
  $("new-dialog").returnValue = "";
  $("new-dialog").showModal();
};
$("new-dialog").onclose = () => {
  const preset = $("new-dialog").returnValue;
  if (preset in PRESETS) showRefusalOf(() => startNewGame(preset));
};
setUpJoinDialog(() => {
  const state = newestState();
  return { sessionId: game.sessionId, hasSeats: !state || !showsClocks(state, only), only: clocks.participant };
});

// A clicked button loses the focus before its click is handled. Otherwise a closing dialog would return the focus to
// the button, and the space bar would press the button instead of the clock.
const dropFocus = (event) => event.detail > 0 && event.target.closest("button")?.blur();
document.addEventListener("click", dropFocus, { capture: true });

addEventListener("keydown", (event) => {
  const isForAnother = document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey;
  if (isForAnother || event.repeat) return;
  const control = event.target.closest?.("button:not(.press), a, input, select, sync-controls");
  // A control in a closed dialog can have the focus for a moment. Ignore such a control, because it is not visible.
  const isControlVisible = control && control.getClientRects().length > 0;
  if (event.code === "Space" && !isControlVisible) {
    event.preventDefault(); // Also if a board's button has the focus: the key presses the clock of the side to move.
    const board = game.boards.find((each) => each.canPress());
    if (board && view !== "wall") onpress(board);
  }
  if (event.key === "p" || event.key === "P") pauseOrResume();
});
addEventListener("keyup", (event) => {
  if (event.code === "Space" && event.target.closest?.(".press")) event.preventDefault();
});

// -- the frame loop --------------------------------------------------------------------------------------------------

const FORMULA_INTERVAL_MS = 50; // Faster changes are not readable, and each change costs a layout.
let formulaPaintedMs = 0;

function paint() {
  const nowMs = bestLink()?.now() ?? null;
  for (const board of game.boards) board.paint(nowMs);
  const state = newestState();
  const hasFormula = state !== null && nowMs !== null && !showsClocks(state, only);
  if (hasFormula && Math.abs(nowMs - formulaPaintedMs) >= FORMULA_INTERVAL_MS) {
    formulaPaintedMs = nowMs;
    paintFormula(state, nowMs);
  }
  requestAnimationFrame(paint);
}

/** Show how the reading is calculated: remaining time minus elapsed time. */
function paintFormula(state, nowMs) {
  const isShown = (each) => each.participant_id === state.active_participant_id || hasExpired(state, each);
  const item = { display_name: "The item", participant_id: null, time_remaining_ms: state.time_remaining_ms };
  const isNobodys = state.plan && state.active_participant_id === null && !isFinal(state);
  const player = isNobodys ? item : (state.participants.find(isShown) ?? state.participants[0]);
  $("formula-player").textContent = `${player.display_name ?? "Active player"} reads`;
  $("formula-remaining").textContent = groupDigits(player.time_remaining_ms);
  $("formula-elapsed").textContent = groupDigits(elapsedMs(state, player, nowMs));
  $("formula-reading").textContent = groupDigits(readingMs(state, player, nowMs));
  const frames = game.boards.map((board) => board.tape.frames);
  $("frames").textContent = `${frames.join(" + ")} messages so far. Between presses no message is needed.`;
  $("offset").textContent = `The server’s clock is known to ±${bestLink().errorMs.toFixed(1)} ms.`;
}

const groupDigits = (ms) => Math.round(ms).toString().replace(/\B(?=(\d{3})+$)/g, "\u2009");

let wakeLock = null;
async function keepScreenAwake(isWanted) {
  if (!navigator.wakeLock || isWanted === (wakeLock !== null)) return;
  if (!isWanted) {
    wakeLock.then((lock) => lock?.release());
    wakeLock = null;
  } else {
    wakeLock = navigator.wakeLock.request("screen").catch(() => null); // Some devices refuse the lock. That is no fault.
  }
}

// -- sign-in and start ---------------------------------------------------------------------------------------------

const isSignedIn = () => caller !== null && caller.kind !== "anonymous";

/** Ask the server who the caller is, then open the game of the address, or the first game. */
async function begin() {
  const begun = (begins += 1);
  try {
    const found = await describeCaller();
    if (begun !== begins) return;
    if (found.expires_in_ms === 0) return signOut("The token has expired");
    caller = found;
    if (!isSignedIn()) forgetToken(); // While authentication is off, a token has no effect.
    hideSignIn();
    showCaller(caller);
    const sessionId = game.sessionId ?? parameters.get("session")?.toLowerCase();
    if (sessionId) openGame(sessionId);
    else await openFirstGame(begun);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (begun !== begins) return;
    if (error.status === 401 || error.status === 403) return signOut(hasToken() ? error.message : "");
    hideSignIn(); // The button of the refusal tries again with the same token.
    showStartRefusal(error);
  }
}

/** Forget the token, close the game and ask for a token. The next sign-in opens the same game again. */
function signOut(reason) {
  begins += 1;
  forgetToken();
  forgetSessions();
  caller = null;
  closeGame();
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  hideNote();
  showCaller(null);
  showStartRefusal(null);
  $("choose").hidden = true;
  showGame();
  showSignIn(reason);
}

/** Open the game that this tab showed last. Create a game if there is none, or if that game has ended. */
async function openFirstGame(begun) {
  const last = remembered();
  const state = last && (await readGame(last));
  const mayCreate = caller.role === "admin";
  const found = state && !(mayCreate && isFinal(state)) ? state : mayCreate ? await createGame("3+2") : null;
  if (begun !== begins) return;
  if (found) return openGame(found.session_id);
  showStartRefusal(null);
  $("choose").hidden = false;
  $("choose-id").focus();
}

/** Sign in with the credential in the fragment of the address, or with the one that the tab has. */
async function beginWithFragment() {
  const refusal = await takeCredentialFromFragment();
  if (refusal?.status === 401) signOut(refusal.message);
  else if (refusal) showStartRefusal(refusal);
  else begin();
}

setUpSignIn(begin, () => {
  endSessionToken();
  signOut("");
});
addEventListener("hashchange", () => hasCredentialInFragment() && beginWithFragment());
document.documentElement.dataset.view = view;
requestAnimationFrame(paint);
beginWithFragment();

/** Show why there is no game, with a button that works after the wait that the server asks for. Null hides it. */
function showStartRefusal(refusal) {
  clearInterval(startTimer);
  $("refused").hidden = refusal === null;
  if (refusal === null) return;
  const reason = refusal.message.replace(/[;.]? try again in \d+ s\.?$/i, ""); // The button shows the wait.
  $("refused-reason").textContent = reason;
  announce(reason);
  const endMs = performance.now() + refusal.waitS * 1000;
  const update = () => {
    const seconds = Math.ceil((endMs - performance.now()) / 1000);
    $("again").disabled = seconds > 0;
    $("again").textContent = seconds > 0 ? `Try again in ${seconds} s` : "Try again";
    if (seconds <= 0) clearInterval(startTimer);
  };
  update();
  if (refusal.waitS) startTimer = setInterval(update, 250);
}

/** Keep the id of the game for the next load of the page in this tab. Some browsers refuse the storage. */
function remember(sessionId) {
  try {
    sessionStorage.setItem(STORAGE_KEY, sessionId);
  } catch {
    // The next load creates a game.
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}
