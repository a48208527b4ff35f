// <sync-controls session participant>: buttons for the commands that the status allows.
import { isFinal, type CommandName, type Session, type SyncKairosError, type Watch } from "../index.js";
import { part, SessionElement, setText } from "./base.js";

const STYLE = `
:host { display: block; font-family: var(--sync-controls-font, system-ui, sans-serif); }
:host([hidden]) { display: none; }
div { display: flex; flex-wrap: wrap; gap: 0.5rem; }
button { font: inherit; min-height: 44px; min-width: 44px; padding: 0.5rem 1rem; border-radius: 0.5rem;
  border: 2px solid var(--sync-controls-border, currentColor); background: var(--sync-controls-background, Canvas);
  color: var(--sync-controls-color, CanvasText); cursor: pointer; }
button:disabled { opacity: 0.5; cursor: default; }
button:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
p { min-height: 1.4em; margin: 0.5rem 0 0; }
`;

/** A button: its command, its label, and whether the session allows the command now. */
interface Control {
  command: CommandName;
  label: string;
  isAllowed: (session: Session, participant: string | undefined) => boolean;
}

const CONTROLS: readonly Control[] = [
  { command: "start", label: "Start", isAllowed: ({ status }) => status === "pending" },
  {
    command: "switch",
    label: "Press",
    isAllowed: (session, participant) =>
      (session.status === "running" || (session.status === "paused" && session.switch_while_paused === true)) &&
      (participant === undefined || participant === session.active_participant_id),
  },
  { command: "pause", label: "Pause", isAllowed: ({ status }) => status === "running" },
  { command: "resume", label: "Resume", isAllowed: ({ status }) => status === "paused" },
  { command: "complete", label: "Finish", isAllowed: (session) => session.status !== "pending" && !isFinal(session) },
];

/**
 * Buttons of one session. With `participant`, the press is the press of this participant. The attribute `commands` names
 * the buttons, such as `switch pause resume`; default: all. It fires `refused` with the error of a refused command.
 */
export class SyncControls extends SessionElement {
  static override observedAttributes = [...SessionElement.observedAttributes, "commands"];
  readonly #bar = part("div", "bar");
  readonly #fault = part("p", "fault");
  readonly #buttons = new Map<CommandName, HTMLButtonElement>();

  constructor() {
    super(STYLE);
    this.#bar.setAttribute("role", "group");
    this.#bar.setAttribute("aria-label", "Clock controls");
    this.#fault.setAttribute("role", "alert");
    for (const { command, label } of CONTROLS) {
      const button = part("button", command);
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => void this.#send(command));
      this.#buttons.set(command, button);
      this.#bar.append(button);
    }
    this.root.append(this.#bar, this.#fault);
  }

  protected started(_watch: Watch): void {}

  protected render(): void {
    const session = this.watch?.shown;
    const wanted = this.getAttribute("commands")?.split(/\s+/);
    for (const { command, isAllowed } of CONTROLS) {
      const button = this.#buttons.get(command) as HTMLButtonElement;
      button.hidden = wanted !== undefined && !wanted.includes(command);
      button.disabled = !session || !isAllowed(session, this.participant);
    }
    if (this.watch?.error) setText(this.#fault, this.watch.error.message);
  }

  async #send(command: CommandName): Promise<void> {
    const { watch, participant } = this;
    setText(this.#fault, "");
    try {
      if (command === "switch" && participant !== undefined) {
        await watch?.command("switch", { current_participant_id: participant });
      } else {
        await watch?.command(command);
      }
    } catch (error) {
      setText(this.#fault, (error as SyncKairosError).message);
      this.dispatchEvent(new CustomEvent("refused", { bubbles: true, composed: true, detail: { error } }));
    }
  }
}
