// The strip under a board: what its socket brought and what its buttons sent, newest first.

const KEEP = 24;

export class Tape {
  frames = 0;

  constructor(list, time) {
    this.list = list;
    this.time = time;
  }

  /** A state came in: its version, the event it tells of, and how long after taking effect it was here. */
  received({ state, type, bytes }, event) {
    this.frames += 1;
    const isUpdate = type === "STATE_UPDATE";
    const tookMs = this.time.now() - Date.parse(state.updated_at);
    this.#add("in", `v${state.version}`, isUpdate ? event : "state_sync", isUpdate ? inMs(tookMs) : inKb(bytes));
  }

  /** A command was answered. */
  answered(verb, code, tookMs) {
    this.#add("out", "POST", `${verb} ${code}`, inMs(tookMs));
  }

  told(text) {
    this.#add("off", "··", text, "");
  }

  #add(kind, ...cells) {
    const row = document.createElement("li");
    row.className = kind;
    row.append(...cells.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    this.list.prepend(row);
    while (this.list.children.length > KEEP) this.list.lastElementChild.remove();
  }
}

const inMs = (ms) => (ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`);
const inKb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
