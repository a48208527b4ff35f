// The list under a board: the messages that the board's socket received and the commands that its buttons sent. The
// newest row is first.

const MAX_ROWS = 24;

export class Tape {
  frames = 0;

  /** `list` is the element for the rows. `time` is the estimate of the server's clock. */
  constructor(list, time) {
    this.list = list;
    this.time = time;
  }

  /** Add a row for a received state: version, event, and delay since the change. A STATE_SYNC has its size instead. */
  addReceived({ state, type, bytes }, event) {
    this.frames += 1;
    const isUpdate = type === "STATE_UPDATE";
    const nowMs = this.time.now();
    const delay = nowMs === null ? "" : formatMs(nowMs - Date.parse(state.updated_at));
    const [name, size] = isUpdate ? [event, delay] : ["state_sync", formatKb(bytes)];
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
