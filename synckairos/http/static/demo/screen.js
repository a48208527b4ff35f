// One screen of the gallery: it has its own client, so its own connection, and shows one session.

import { participantActions, sessionActions } from "../control/actions.js";
import { pressOf } from "../desk/press.js";
import { element } from "../view/dom.js";
import { showElement, turnText } from "../view/live_session.js";
import { text } from "../view/texts.js";
import { currentToken } from "./credential.js";
import { connect } from "./sdk.js";
import { screenButtons } from "./uses.js";

const MAX_MESSAGES = 40;
const OWN_BUDGETS = new Set(["per_participant", "per_group", "individual"]);
const SERVER = new URL("..", import.meta.url).href;

export class Screen {
  /** `screen` is one of a use, see uses.js. `onState(session)` is called after each change. */
  constructor(screen, sessionId, onState) {
    this.screen = screen;
    this.sessionId = sessionId;
    const token = currentToken();
    this.client = connect(SERVER, token === null ? {} : { token });
    this.log = element("ol", { className: "log", tabIndex: 0, "aria-label": `Messages of ${screen.title}` });
    this.client.onMessage((message) => this.addMessage("← received", message));
    this.client.onSent((message) => this.addMessage("→ sent", message));
    this.client.onState(() => this.showConnection());
    this.#build();
    this.watch = this.client.watch(sessionId);
    this.watch.subscribe(() => {
      this.#show();
      onState(this.watch.shown);
    });
  }

  close() {
    this.client.close();
  }

  #build() {
    const { title, kind } = this.screen;
    this.name = element("p", { className: "name" });
    this.clock = document.createElement("sync-clock");
    this.board = document.createElement("sync-board");
    this.agenda = document.createElement("sync-agenda");
    for (const each of [this.clock, this.board, this.agenda]) {
      each.client = this.client;
      each.hidden = true;
    }
    this.bar = element("div", { className: "bar" });
    this.fault = element("p", { className: "fault", role: "alert" });
    const heading = element("h3", { textContent: title });
    this.element = element("section", { className: `screen ${kind}`, "aria-label": title }, heading, this.name, this.clock, this.board, this.bar, this.fault, this.agenda);
  }

  #show() {
    const session = this.watch.shown;
    if (this.watch.error) this.fault.textContent = this.watch.error.message;
    if (!session) return;
    const { kind, participant } = this.screen;
    const isOwn = kind === "desk" && OWN_BUDGETS.has(session.sync_mode);
    const isBoard = !isOwn && OWN_BUDGETS.has(session.sync_mode);
    const own = isOwn ? { participant: session.participants[participant].participant_id } : {};
    showElement(this.clock, !isBoard, { session: this.sessionId, face: "stage", ...own });
    showElement(this.board, isBoard, { session: this.sessionId, face: "chess" });
    showElement(this.agenda, session.plan !== undefined && kind !== "desk", { session: this.sessionId });
    this.name.textContent = kind === "desk" ? nameOf(session, participant) : turnText(session);
    this.#showButtons(screenButtons(this.screen, session, { sessionActions, participantActions, pressOf }));
  }

  /** Show the buttons. A button keeps its place, so that the focus of a keyboard stays. */
  #showButtons(actions) {
    while (this.bar.children.length > actions.length) this.bar.lastChild.remove();
    actions.forEach((action, at) => {
      const button = this.bar.children[at] ?? this.bar.appendChild(element("button", { type: "button" }));
      const label = text(action.label);
      if (button.textContent !== label) button.textContent = label;
      button.setAttribute("aria-disabled", String(!action.isEnabled));
      button.onclick = () => action.isEnabled && this.send(action);
    });
  }

  /** Send the command of an action. A refusal is shown on the screen. */
  async send({ command, args, needsTurn }) {
    this.fault.textContent = "";
    const turn = needsTurn ? this.watch.shown?.turn_number : undefined;
    try {
      await this.watch.command(command, args, turn === undefined ? {} : { expectedTurn: turn });
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  showConnection() {
    const { status } = this.client.state;
    if (status === "reconnecting") this.fault.textContent = "The connection is lost. The clock goes on.";
    else if (status === "connected" && this.fault.textContent.startsWith("The connection")) this.fault.textContent = "";
    else if (status === "unauthorized") this.fault.textContent = "The credential of this tab is not valid any more.";
  }

  addMessage(direction, message) {
    this.log.prepend(element("li", { textContent: `${direction} ${JSON.stringify(message)}` }));
    if (this.log.children.length > MAX_MESSAGES) this.log.lastChild.remove();
  }
}

function nameOf(session, at) {
  const participant = session.participants[at];
  const isLeading = session.extend_on_switch_ms !== undefined && participant.is_active;
  return `${participant.display_name ?? `Participant ${at + 1}`}${isLeading ? ": highest bid" : ""}`;
}
