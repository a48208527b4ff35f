// <sync-board session only face tenths sound overtime>: all clocks of a session, with names, and the participant that has the turn.
import type { Session, Watch } from "../index.js";
import { ACTIVE, part, SessionElement, setText } from "./base.js";
import { SyncClock } from "./clock.js";
import { say } from "./texts.js";
import { isRunning } from "./words.js";

const STYLE = `
:host { display: block; font-family: var(--sync-board-font, system-ui, sans-serif); }
:host([hidden]) { display: none; }
ul { display: flex; flex-wrap: wrap; gap: var(--sync-board-gap, 0.75rem); margin: 0; padding: 0; list-style: none; }
li { flex: 1 1 12rem; padding: 0.75rem; border: 2px solid var(--sync-board-border, GrayText); border-radius: 0.5rem;
  text-align: center; }
li[aria-current=true] { border-color: var(--sync-board-active-border, ${ACTIVE}); border-width: 4px; padding: calc(0.75rem - 2px); }
li[data-ended] { border-style: dashed; }
[part=name] { display: block; overflow-wrap: anywhere; }
li[aria-current=true] [part=name]::before { content: "▶ "; }
p { margin: 0; }
p:empty { display: none; }
@media (forced-colors: active) { li[aria-current=true] { border-color: Highlight; } }
`;

const SHARED_CLOCKS = new Set(["global", "per_cycle", "count_up"]);

/** All clocks of a session. In `individual` these are the clocks that the client is allowed to see. */
export class SyncBoard extends SessionElement {
  static override observedAttributes = [...SessionElement.observedAttributes, "sound"];
  readonly #list = part("ul", "list");
  readonly #note = part("p", "note");
  #shownIds = "";

  constructor() {
    super(STYLE);
    this.root.append(this.#list, this.#note);
  }

  protected started(_watch: Watch): void {
    // The clocks inside have the attributes and the client with which they were made.
    this.#shownIds = "";
  }

  protected render(): void {
    const session = this.watch?.shown;
    const rows = session ? rowsOf(session) : [];
    const ids = rows.map(({ id }) => id ?? "clock").join();
    if (ids !== this.#shownIds) this.#list.replaceChildren(...rows.map(({ id }) => this.#row(id)));
    this.#shownIds = ids;
    rows.forEach(({ name, isCurrent, hasEnded }, at) => {
      const row = this.#list.children[at] as HTMLElement;
      row.setAttribute("aria-current", String(isCurrent));
      row.toggleAttribute("data-ended", hasEnded);
      setText(row.firstElementChild as Element, name);
    });
    setText(this.#note, session && rows.length === 0 ? say("clock.none") : session ? "" : this.errorText);
  }

  #row(id: string | undefined): HTMLElement {
    const row = part("li", "row");
    const clock = document.createElement("sync-clock") as SyncClock;
    for (const name of ["face", "tenths", "sound", "overtime"]) {
      const value = this.getAttribute(name);
      if (value !== null) clock.setAttribute(name, value);
    }
    this.share(clock);
    if (id) clock.setAttribute("participant", id);
    clock.setAttribute("exportparts", "time, words");
    row.append(part("span", "name"), clock);
    return row;
  }
}

interface Row {
  id?: string;
  name: string;
  /** Whether the participant has the turn, or in `individual` whether its clock runs. */
  isCurrent: boolean;
  /** Whether the clock of this participant has ended, in `individual`. */
  hasEnded: boolean;
}

/** Return the rows of a board: one for the session's own clock, or one for each participant. */
function rowsOf(session: Session): Row[] {
  if (SHARED_CLOCKS.has(session.sync_mode)) {
    const active = session.participants.find((each) => each.is_active);
    return [{ name: active?.display_name ?? "", isCurrent: session.status === "running", hasEnded: false }];
  }
  return session.participants.map((each) => ({
    id: each.participant_id,
    name: each.display_name ?? say("clock.participant", { n: each.participant_index + 1 }),
    isCurrent: each.status === undefined ? each.is_active : isRunning(session, each),
    hasEnded: each.status === "finished" || each.status === "expired",
  }));
}
