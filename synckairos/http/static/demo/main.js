// The page: which game, which boards, what the buttons and keys do. Boards paint themselves; the frame loop only asks.

import { Board } from "./board.js";
import { drawQr, seatUrl, setUpJoin } from "./join.js";
import { Link } from "./link.js";
import { elapsedMs, hasFlagged, isFinal, readingMs } from "./reading.js";
import { PRESETS, Refused, command, createGame, describe } from "./rest.js";
import { ServerTime, keepInStep } from "./servertime.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const VIEWS = { both: ["white", "black"], white: ["white"], black: ["black"], wall: ["white", "black"] };

const $ = (id) => document.getElementById(id);
const time = new ServerTime();
const asked = new URLSearchParams(location.search);
const view = asked.get("board") in VIEWS ? asked.get("board") : "both";
const game = { sessionId: null, links: [], boards: [] };

/** The newest state that any board has. */
const newest = () => game.links.map((link) => link.state).reduce((a, b) => (!a || b?.version > a.version ? b : a), null);

// -- the game at hand ------------------------------------------------------------------------------------------------

function sitDown(sessionId) {
  game.links.forEach((link) => link.close());
  game.boards.forEach((board) => board.element.remove());
  game.sessionId = sessionId;
  const shared = view === "wall" ? new Link(sessionId) : null;
  game.links = shared ? [shared] : [];
  game.boards = VIEWS[view].map((side) => {
    const link = shared ?? new Link(sessionId);
    if (!shared) game.links.push(link);
    return new Board({ side, link, time, isWall: view === "wall", onpress, ongive });
  });
  const [first, second] = game.boards;
  $("stage").prepend(first.element);
  if (second) $("stage").append(second.element);
  game.links.forEach((link) => {
    link.addEventListener("state", ({ detail }) => onState(detail));
    link.addEventListener("status", showGame);
  });
  if (view === "wall") game.boards.forEach(showSeat);
  const url = new URL(location.href);
  url.searchParams.set("session", sessionId);
  history.replaceState(null, "", url);
  showGame();
}

function onState({ before, state, isNews }) {
  if (!isNews) return;
  const next = state.metadata?.next_session_id;
  if (UUID.test(next) && next !== game.sessionId) return sitDown(next);
  const fallen = state.participants.find((each) => hasFlagged(state, each));
  if (fallen && before && !before.participants.some((each) => hasFlagged(before, each))) {
    say(`${fallen.display_name ?? "A"}’s flag fell.`);
  }
  showGame();
}

function showGame() {
  const state = newest();
  const isPaused = state?.status === "paused";
  const isGone = game.links.some((link) => link.status === "missing" || link.status === "deleted");
  const isLive = game.links.some((link) => link.status === "live");
  $("pause").disabled = !isLive || !["running", "paused"].includes(state?.status);
  $("pause").setAttribute("aria-label", isPaused ? "Resume" : "Pause");
  $("pause").querySelector("use").setAttribute("href", isPaused ? "#icon-play" : "#icon-pause");
  $("new").classList.toggle("urgent", isGone || (state !== null && isFinal(state)));
  $("game").textContent = state?.metadata?.time_control ?? "Chess clock";
  document.documentElement.dataset.status = isGone ? "gone" : (state?.status ?? "waiting");
  keepAwake(state?.status === "running");
}

function showSeat(board) {
  drawQr(board.seat, seatUrl(game.sessionId, board.side));
  board.seat.setAttribute("aria-label", `QR code: play ${board.side}`);
}

async function newGame(preset) {
  const before = newest();
  const { session_id: sessionId } = await createGame(preset);
  const old = game.sessionId;
  sitDown(sessionId);
  if (!before) return;
  // Whoever watches the old game learns of the new one from its metadata; then the old one is called off.
  await describe(old, { next_session_id: sessionId });
  if (!isFinal(before)) await command(old, "cancel");
}

// -- what people do --------------------------------------------------------------------------------------------------

function onpress(board) {
  board.nudge();
  if (!board.canPress()) return;
  navigator.vibrate?.(8);
  if (board.mood === "pending") send(board, "start");
  else send(board, "switch", { current_participant_id: board.own.participant_id });
}

const ongive = (board) => send(board, "adjust", { delta_ms: 15_000, participant_ids: [board.own.participant_id] });

function pauseOrResume() {
  const status = newest()?.status;
  if (status === "running") send(game.boards[0], "pause");
  if (status === "paused") send(game.boards[0], "resume");
}

async function send(board, verb, body) {
  const sentMs = performance.now();
  const code = await attempt(() => command(game.sessionId, verb, body));
  board.tape.answered(verb, code, performance.now() - sentMs);
}

/** Do it; where the server says no, show its words. Returns the status it answered with. */
async function attempt(action) {
  try {
    await action();
    hideNote();
    return 200;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    showNote(error.message);
    return error.status || "unanswered";
  }
}

function showNote(text) {
  $("note").firstElementChild.textContent = text;
  $("note").hidden = false;
  say(text);
}

const hideNote = () => ($("note").hidden = true);
const say = (text) => ($("say").textContent = text);

$("note").lastElementChild.onclick = hideNote;
$("pause").onclick = pauseOrResume;
$("new").onclick = () => {
  $("new-dialog").returnValue = "";
  $("new-dialog").showModal();
};
$("new-dialog").onclose = () => {
  const preset = $("new-dialog").returnValue;
  if (preset in PRESETS) attempt(() => newGame(preset));
};
setUpJoin(() => game.sessionId);

// What is clicked or tapped gives the focus up before anything follows from it, so that no dialog hands it back:
// the space bar is the clock's.
const letGo = (event) => event.detail > 0 && event.target.closest("button")?.blur();
document.addEventListener("click", letGo, { capture: true });

addEventListener("keydown", (event) => {
  const isElsewhere = document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey;
  if (isElsewhere || event.repeat) return;
  const other = event.target.closest?.("button:not(.press), a, input");
  const isOther = other && other.getClientRects().length > 0; // one in a closed dialog may keep the focus for a moment
  if (event.code === "Space" && !isOther) {
    event.preventDefault(); // on a clock's own button, too: the key presses whoever is to move
    const board = game.boards.find((each) => each.canPress());
    if (board && view !== "wall") onpress(board);
  }
  if (event.key === "p" || event.key === "P") pauseOrResume();
});
addEventListener("keyup", (event) => {
  if (event.code === "Space" && event.target.closest?.(".press")) event.preventDefault();
});

// -- the frame loop --------------------------------------------------------------------------------------------------

const SUM_EVERY_MS = 50; // more often nobody can read, and each time costs a layout
let summedMs = 0;

function paint() {
  const nowMs = time.now();
  for (const board of game.boards) {
    board.paint(nowMs);
    board.paintWait(performance.now());
  }
  const state = newest();
  if (state && Math.abs(nowMs - summedMs) >= SUM_EVERY_MS) {
    summedMs = nowMs;
    paintSum(state, nowMs);
  }
  requestAnimationFrame(paint);
}

function paintSum(state, nowMs) {
  const isWhose = (each) => each.participant_id === state.active_participant_id || hasFlagged(state, each);
  const whose = state.participants.find(isWhose) ?? state.participants[0];
  $("sum-whose").textContent = `${whose.display_name ?? "Active"} reads`;
  $("sum-remaining").textContent = grouped(whose.time_remaining_ms);
  $("sum-elapsed").textContent = grouped(elapsedMs(state, whose, nowMs));
  $("sum-reading").textContent = grouped(readingMs(state, whose, nowMs));
  const frames = game.boards.map((board) => board.tape.frames);
  $("frames").textContent = `${frames.join(" + ")} frames so far, none between presses.`;
  const { rttMs, errorMs } = time.best;
  if (time.isKnown) {
    $("offset").textContent = `Server clock known to ±${errorMs.toFixed(1)} ms (best round trip ${rttMs.toFixed(1)} ms).`;
  }
}

const grouped = (ms) => Math.round(ms).toString().replace(/\B(?=(\d{3})+$)/g, "\u2009");

let awake = null;
async function keepAwake(isWanted) {
  if (!navigator.wakeLock || isWanted === (awake !== null)) return;
  if (!isWanted) {
    awake.then((lock) => lock?.release());
    awake = null;
  } else {
    awake = navigator.wakeLock.request("screen").catch(() => null); // a courtesy: some devices say no
  }
}

// -- begin -----------------------------------------------------------------------------------------------------------

document.documentElement.dataset.view = view;
keepInStep(time);
requestAnimationFrame(paint);
const session = asked.get("session")?.toLowerCase();
if (session) sitDown(session);
else attempt(async () => sitDown((await createGame("3+2")).session_id));
