// <sync-board session face tenths sound>: all clocks of a session, with names, and the participant that has the turn.
import type { Session, Watch } from "../index.js";
import { part, SessionElement, setText } from "./base.js";
import { SyncClock } from "./clock.js";

const STYLE = `
:host { display: block; font-family: var(--sync-board-font, system-ui, sans-serif); }
:host([hidden]) { display: none; }
ul { display: flex; flex-wrap: wrap; gap: var(--sync-board-gap, 0.75rem); margin: 0; padding: 0; list-style: none; }
li { flex: 1 1 12rem; padding: 0.75rem; border: 2px solid var(--sync-board-border, GrayText); border-radius: 0.5rem;
  text-align: center; }
li[aria-current=true] { border-color: var(--sync-board-active-border, Highlight); border-width: 4px; padding: calc(0.75rem - 2px); }
[part=name] { display: block; overflow-wrap: anywhere; }
li[aria-current=true] [part=name]::before { content: "▶ "; }
`;

const SHARED_CLOCKS = new Set(["global", "per_cycle", "count_up"]);

/** All clocks of a session. */
export class SyncBoard extends SessionElement {
  readonly #list = part("ul", "list");
  #shownIds = "";

  constructor() {
    super(STYLE);
    this.root.append(this.#list);
  }

  protected started(_watch: Watch): void {}

  protected render(): void {
    const session = this.watch?.shown;
    const rows = session ? rowsOf(session) : [];
    const ids = [this.getAttribute("session"), this.getAttribute("face"), ...rows.map(({ id }) => id ?? "")].join();
    if (ids !== this.#shownIds) this.#list.replaceChildren(...rows.map(({ id }) => this.#row(id)));
    this.#shownIds = ids;
    rows.forEach(({ name, hasTurn }, at) => {
      const row = this.#list.children[at] as HTMLElement;
      row.setAttribute("aria-current", String(hasTurn));
      setText(row.firstElementChild as Element, name);
    });
  }

  #row(id: string | undefined): HTMLElement {
    const row = part("li", "row");
    const clock = document.createElement("sync-clock") as SyncClock;
    for (const name of ["session", "face", "tenths", "sound"]) {
      const value = this.getAttribute(name);
      if (value !== null) clock.setAttribute(name, value);
    }
    const server = this.closest("[server]")?.getAttribute("server");
    if (server) clock.setAttribute("server", server);
    if (id) clock.setAttribute("participant", id);
    clock.setAttribute("exportparts", "time, words");
    if (this.client) clock.client = this.client;
    row.append(part("span", "name"), clock);
    return row;
  }
}

interface Row {
  id?: string;
  name: string;
  hasTurn: boolean;
}

/** Return the rows of a board: one for the session's own clock, or one for each participant. */
function rowsOf(session: Session): Row[] {
  if (SHARED_CLOCKS.has(session.sync_mode)) {
    const active = session.participants.find((each) => each.is_active);
    return [{ name: active?.display_name ?? "", hasTurn: session.status === "running" }];
  }
  return session.participants.map((each) => ({
    id: each.participant_id,
    name: each.display_name ?? `Participant ${each.participant_index + 1}`,
    hasTurn: each.is_active,
  }));
}
