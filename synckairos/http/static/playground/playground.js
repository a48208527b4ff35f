// The page /playground: a session of a preset with its state, its commands and its messages.

import { currentToken } from "../demo/credential.js";
import { takeCredentialFromFragment } from "../demo/link_credential.js";
import { Refusal, createFromPreset, listPresets } from "../demo/rest.js";
import { connect, setDefaultClient } from "../demo/sdk.js";
import { commandCode, exampleArguments } from "./commands.js";
import { LaggingSocket, setDelay } from "./lagging_socket.js";

const UUID_INSIDE = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
const MAX_MESSAGES = 100;

const $ = (id) => document.getElementById(id);
const page = document.documentElement;
const serverUrl = new URL("..", import.meta.url).href;
let client = null;
let watch = null;
let sessionId = null;

begin();

async function begin() {
  const refusal = await takeCredentialFromFragment();
  if (refusal) $("fault").textContent = "This link is not valid, or it was used up.";
  try {
    const presets = await listPresets();
    $("preset").replaceChildren(...presets.map(({ name, title }) => new Option(title, name)));
  } catch (error) {
    $("fault").textContent = error.message;
  }
  const given = new URLSearchParams(location.search).get("session")?.toLowerCase().match(UUID_INSIDE)?.[0];
  if (given) open(given);
}

$("create").onsubmit = async (event) => {
  event.preventDefault();
  $("fault").textContent = "";
  try {
    open((await createFromPreset($("preset").value)).session_id);
  } catch (error) {
    const isRefused = error instanceof Refusal && (error.status === 401 || error.status === 403);
    $("fault").textContent = isRefused ? "Your credential does not allow to create sessions, or there is none." : error.message;
  }
};

// -- the session ------------------------------------------------------------------------------------------------------

function open(id) {
  client?.close();
  sessionId = id;
  const url = new URL(location.href);
  url.searchParams.set("session", id);
  history.replaceState(null, "", url);
  const token = currentToken();
  client = connect(serverUrl, { WebSocket: LaggingSocket, ...(token === null ? {} : { token }) });
  setDefaultClient(client);
  client.onState(showConnection);
  client.onMessage((message) => addMessage("received", message));
  client.onSent((message) => addMessage("sent", message));
  watch = client.watch(id);
  watch.subscribe(show);
  $("id").textContent = id;
  for (const name of ["control", "view"]) $(name).href = new URL(`../${name}/${id}`, import.meta.url).href;
  $("log").replaceChildren();
  $("command").replaceChildren();
  $("instant").value = $("instant").max;
  $("board").removeAttribute("session");
  page.dataset.state = "loading";
  $("session").hidden = false;
  showConnection(client.state);
}

function show() {
  if (watch.error) {
    $("fault").textContent = watch.error.message;
    page.dataset.state = "ended";
    return;
  }
  const session = watch.shown;
  if (!session) return;
  page.dataset.state = "live";
  page.dataset.status = session.status;
  if ($("board").getAttribute("session") !== sessionId) $("board").setAttribute("session", sessionId);
  if ($("command").options.length === 0) {
    $("command").replaceChildren(...Object.keys(exampleArguments(session)).map((name) => new Option(name, name)));
    const asked = new URLSearchParams(location.search).get("command");
    if (asked in exampleArguments(session)) $("command").value = asked;
    chooseCommand();
  }
  if ($("instant").value === $("instant").max) showState(session, "The newest state");
}

function showState(session, text) {
  $("at").textContent = text;
  $("state").textContent = JSON.stringify(session, null, 2);
}

/** Show the state at the instant of the slider: at its end the newest state, else the state of `?at=`. */
async function travel() {
  const { value, max } = $("instant");
  const session = watch?.state;
  if (!session) return;
  if (value === max) return showState(session, "The newest state");
  const beginMs = Date.parse(session.created_at);
  const endMs = Math.max(client.now() ?? Date.now(), Date.parse(session.updated_at));
  const atMs = Math.round(beginMs + ((endMs - beginMs) * Number(value)) / Number(max));
  try {
    const then = await client.api.sessions.get(sessionId, { at: atMs });
    if ($("instant").value === value) showState(then, `Version ${then.version} at ${new Date(atMs).toISOString()}`);
  } catch (error) {
    if ($("instant").value === value) $("at").textContent = error.message;
  }
}
$("instant").oninput = travel;

// -- commands ---------------------------------------------------------------------------------------------------------

function chooseCommand() {
  $("args").value = JSON.stringify(exampleArguments(watch.shown)[$("command").value], null, 2);
  showCode();
}

/** Return the arguments of the form, null if they are no JSON object. */
function readArguments() {
  try {
    const args = JSON.parse($("args").value || "{}");
    return typeof args === "object" && args !== null && !Array.isArray(args) ? args : null;
  } catch {
    return null;
  }
}

function showCode() {
  const args = readArguments();
  $("copy").textContent = "Copy";
  $("code").textContent =
    args === null ? "The arguments are no JSON object." : commandCode($("language").value, serverUrl, sessionId, $("command").value, args);
}

$("command").onchange = chooseCommand;
$("args").oninput = $("language").onchange = showCode;
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("code").textContent);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("code")); // Without HTTPS there is no clipboard. The user can copy the selection.
  }
};
$("send").onsubmit = async (event) => {
  event.preventDefault();
  const args = readArguments();
  if (args === null) return ($("answer").textContent = "The arguments are no JSON object.");
  const { expected_version: expectedVersion, expected_turn: turn, on_behalf_of: onBehalfOf, ...others } = args;
  const expectedTurn = turn ?? ($("guard").checked ? watch.shown?.turn_number : null);
  const options = { expectedVersion, onBehalfOf, expectedTurn };
  $("answer").textContent = "Sent";
  try {
    const { version } = await watch.command($("command").value, others, options);
    $("answer").textContent = `Accepted. The session has version ${version}.`;
  } catch (error) {
    $("answer").textContent = `Refused with ${error.code}: ${error.message}`;
  }
};

// -- the network ------------------------------------------------------------------------------------------------------

function showConnection({ status, code, reason }) {
  const why = status === "connected" ? "" : [code, reason].filter(Boolean).join(" ");
  $("connection").textContent = why ? `${status}: ${why}` : status;
}

function addMessage(direction, message) {
  const row = document.createElement("li");
  const arrow = direction === "sent" ? "→ sent" : "← received";
  row.textContent = `${new Date().toISOString().slice(11, 23)} ${arrow} ${JSON.stringify(message)}`;
  $("log").prepend(row);
  while ($("log").children.length > MAX_MESSAGES) $("log").lastElementChild.remove();
}

$("lag").onchange = () => setDelay(Number($("lag").value));
$("drop").onclick = () => client.reconnect();
