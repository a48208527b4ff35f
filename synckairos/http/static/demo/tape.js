// The list under a board: the messages that the board's socket received and the commands that its buttons sent. The
// newest row is first.

const MAX_ROWS = 24;

export class Tape {
  frames = 0;

  /** `list` is the element for the rows. `link` has the server's time. */
  constructor(list, link) {
    this.list = list;
    this.link = link;
  }

  /**
   * Add a row for a received state: version, event, and delay since the change. The answer to a subscription has its size
   * instead: `state_sync` has the whole state, and `resumed` only what changed since the last state.
   */
  addReceived({ state, message, bytes }, event) {
    this.frames += 1;
    const isAnswer = message.type === "STATE_SYNC" || message.recovered === true;
    const nowMs = this.link.now();
    const delay = nowMs === null ? "" : formatMs(Math.max(0, nowMs - Date.parse(state.updated_at)));
    const answer = message.type === "STATE_SYNC" ? "state_sync" : "resumed";
    const [name, size] = isAnswer ? [answer, formatKb(bytes)] : [event, delay];
    this.#add("in", `v${state.version}`, name, size);
  }

  /** Add a row for a sent command, with the HTTP status and the duration of the request. */
  addSent(verb, status, durationMs) {
    this.#add("out", "POST", `${verb} ${status}`, formatMs(durationMs));
  }

  #add(kind, ...cells) {
    const row = document.createElement("li");
    row.className = kind;
    row.append(...cells.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    this.list.prepend(row);
    while (this.list.children.length > MAX_ROWS) this.list.lastElementChild.remove();
  }
}

const formatMs = (ms) => (ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`);
const formatKb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
