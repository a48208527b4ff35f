// <sync-controls session participant only commands>: buttons for the commands that the status allows.
import {
  isFinal,
  type CommandName,
  type Session,
  type SessionParticipant,
  type SyncKairosError,
  type Watch,
} from "../index.js";
import { part, SessionElement, setText } from "./base.js";
import { isIndividual } from "./words.js";

const STYLE = `
:host { display: block; font-family: var(--sync-controls-font, system-ui, sans-serif); }
:host([hidden]), [hidden] { display: none !important; }
div { display: flex; flex-wrap: wrap; gap: 0.5rem; }
button { font: inherit; min-height: 44px; min-width: 44px; padding: 0.5rem 1rem; border-radius: 0.5rem;
  border: 2px solid var(--sync-controls-border, currentColor); background: var(--sync-controls-background, Canvas);
  color: var(--sync-controls-color, CanvasText); cursor: pointer; }
button:disabled { opacity: 0.5; cursor: default; }
button:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
p { min-height: 1.4em; margin: 0.5rem 0 0; }
`;

/** A button: its command and its label, and whether the session allows the command now. */
interface Control {
  command: CommandName;
  label: (session: Session | undefined) => string;
  isAllowed: (session: Session, participant: string | undefined) => boolean;
  /** Whether the button is only for sessions in which each participant has its own clock. */
  isForOwnClocks?: boolean;
}

type ClockStatus = NonNullable<SessionParticipant["status"]>;

/** Return whether a clock of the participant, or any clock without a participant, has one of these statuses. */
const hasClock = (session: Session, participant: string | undefined, ...wanted: ClockStatus[]): boolean =>
  session.participants.some(
    ({ participant_id: id, status }) => (participant ?? id) === id && status !== undefined && wanted.includes(status),
  );

const CONTROLS: readonly Control[] = [
  {
    command: "start",
    label: () => "Start",
    isAllowed: (session, participant) =>
      isIndividual(session)
        ? !isFinal(session) && hasClock(session, participant, "waiting")
        : session.status === "pending",
  },
  {
    command: "switch",
    label: (session) => (session?.plan ? "Next item" : "Press"),
    isAllowed: (session, participant) =>
      (session.status === "running" || (session.status === "paused" && session.switch_while_paused === true)) &&
      (participant === undefined || participant === session.active_participant_id),
  },
  {
    command: "pause",
    label: () => "Pause",
    isAllowed: (session, participant) =>
      isIndividual(session) ? hasClock(session, participant, "running") : session.status === "running",
  },
  {
    command: "resume",
    label: (session) => (session?.next_item_id === undefined ? "Resume" : "Begin item"),
    isAllowed: (session, participant) =>
      isIndividual(session) ? hasClock(session, participant, "paused") : session.status === "paused",
  },
  {
    command: "finish",
    label: () => "Finish",
    isForOwnClocks: true,
    isAllowed: (session, participant) => hasClock(session, participant, "running", "paused"),
  },
  {
    command: "complete",
    label: (session) => (session && isIndividual(session) ? "Finish all" : "Finish"),
    isAllowed: (session) => session.status !== "pending" && !isFinal(session),
  },
];

/** Return the arguments with which a button commands the clock of a participant, or of all participants. */
function argumentsOf(session: Session | null, command: CommandName, participant: string | undefined) {
  if (participant === undefined) return {};
  if (command === "switch") return { current_participant_id: participant };
  const isOwn = session && isIndividual(session) && command !== "complete";
  return isOwn ? { participant_ids: [participant] } : {};
}

/**
 * Buttons of one session. With `participant`, the press is the press of this participant. In `individual` the buttons
 * then concern the clock of this participant, else all clocks. The attribute `commands` names the buttons, such as
 * `switch pause resume`; default: all that the session has. It fires `refused` with the error of a refused command.
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
    for (const { command } of CONTROLS) {
      const button = part("button", command);
      button.type = "button";
      button.addEventListener("click", () => void this.#send(command));
      this.#buttons.set(command, button);
      this.#bar.append(button);
    }
    this.root.append(this.#bar, this.#fault);
  }

  protected started(_watch: Watch): void {}

  protected render(): void {
    const session = this.watch?.shown ?? undefined;
    const wanted = this.getAttribute("commands")?.split(/\s+/);
    for (const { command, label, isAllowed, isForOwnClocks } of CONTROLS) {
      const button = this.#buttons.get(command) as HTMLButtonElement;
      button.hidden = wanted ? !wanted.includes(command) : this.#isUseless(session, command, isForOwnClocks);
      button.disabled = !session || !isAllowed(session, this.participant);
      setText(button, label(session));
    }
    this.#bar.hidden = !session && this.errorText !== "";
    if (this.errorText) setText(this.#fault, this.errorText);
  }

  /** Return whether a session of this mode never takes a command from these buttons. */
  #isUseless(session: Session | undefined, command: CommandName, isForOwnClocks = false): boolean {
    if (!session || !isIndividual(session)) return isForOwnClocks;
    return command === "switch" || command === (this.participant === undefined ? "finish" : "complete");
  }

  async #send(command: CommandName): Promise<void> {
    const { watch, participant } = this;
    setText(this.#fault, "");
    try {
      await watch?.command(command, argumentsOf(watch.shown, command, participant));
    } catch (error) {
      setText(this.#fault, (error as SyncKairosError).message);
      this.dispatchEvent(new CustomEvent("refused", { bubbles: true, composed: true, detail: { error } }));
    }
  }
}
