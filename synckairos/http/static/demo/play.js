// The page /demo/play: a gallery of uses, each a session of a preset on two screens.

import { sessionActions } from "../control/actions.js";
import { $, element } from "../view/dom.js";
import { text } from "../view/texts.js";
import { hasToken } from "./credential.js";
import { takeCredentialFromFragment } from "./link_credential.js";
import { Refusal, createFromPreset, readPreset } from "./rest.js";
import { Screen } from "./screen.js";
import { USES } from "./uses.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const page = document.documentElement;
let screens = [];
let chosen = null; // The name of the use that is shown.
let isStarting = false;

for (const [name, { title, text: about }] of Object.entries(USES)) {
  const button = element("button", { type: "button", value: name, "aria-pressed": "false" }, element("b", { textContent: title }), element("span", { textContent: about }));
  button.onclick = () => start(name);
  $("uses").append(element("li", {}, button));
}
$("again").onclick = () => start(chosen);
begin();

/** Show the session of the address, or start the use of the address. */
async function begin() {
  if (await takeCredentialFromFragment()) $("fault").textContent = "This link is not valid, or it was used up.";
  const parameters = new URLSearchParams(location.search);
  const [use, session] = [parameters.get("use"), parameters.get("session")?.toLowerCase()];
  if (!Object.hasOwn(USES, use ?? "")) return;
  if (UUID.test(session ?? "")) open(use, session);
  else start(use);
}

/** Create a session of a use, and show it. A second press while it is created does nothing. */
async function start(name) {
  if (isStarting) return;
  isStarting = true;
  $("fault").textContent = "";
  try {
    const { session_id: id } = await createFromPreset(USES[name].preset);
    open(name, id);
    $("stage-title").focus();
  } catch (error) {
    const isRefused = error instanceof Refusal && (error.status === 401 || error.status === 403);
    const reason = hasToken() ? "Your credential does not allow to create sessions." : "This server needs a credential. Sign in on the chess clock’s page first.";
    $("fault").textContent = isRefused ? reason : error.message;
  }
  isStarting = false;
}

function open(name, id) {
  for (const screen of screens) screen.close();
  chosen = name;
  const { title, preset } = USES[name];
  const url = new URL(location.href);
  url.search = new URLSearchParams({ use: name, session: id });
  history.replaceState(null, "", url);
  page.dataset.state = "playing";
  for (const button of $("uses").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === name));
  $("stage-title").textContent = title;
  document.title = `${title} · SyncKairos demo`;
  $("status").textContent = USES[name].text;
  $("request").textContent = `POST /v1/sessions {"preset": "${preset}"}`;
  $("state").textContent = "";
  screens = USES[name].screens.map((each) => new Screen(each, id, show));
  $("screens").replaceChildren(...screens.map((each) => each.element));
  $("logs").replaceChildren(...screens.map((each) => element("div", {}, element("h4", { textContent: each.screen.title }), each.log)));
  const paths = { control: `control/${id}`, view: `view/${id}`, playground: `playground?session=${id}` };
  for (const [link, path] of Object.entries(paths)) $(link).href = new URL(`../${path}`, import.meta.url).href;
  $("stage").hidden = false;
  showPreset(preset);
}

/** Show the state of the session, and a button that starts, pauses and resumes it. */
function show(session) {
  if (!session) return;
  page.dataset.status = session.status;
  const [main] = sessionActions(session);
  $("main").hidden = screens.some(({ screen }) => screen.kind === "host"); // A host's screen has this button.
  $("main").textContent = text(main.label);
  $("main").setAttribute("aria-disabled", String(!main.isEnabled));
  $("main").onclick = () => main.isEnabled && screens[0].send(main);
  $("status").textContent = text(`status.${session.status}`);
  if ($("json").open) $("state").textContent = JSON.stringify(session, null, 2);
}

$("json").ontoggle = () => show(screens[0]?.watch.shown);

async function showPreset(name) {
  $("preset").textContent = "";
  try {
    $("preset").textContent = JSON.stringify((await readPreset(name)).session, null, 2);
  } catch (error) {
    $("preset").textContent = error.message;
  }
}
