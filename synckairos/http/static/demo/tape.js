// The list under a board: messages that its socket received and commands that its buttons sent, newest first.

const MAX_ROWS = 24;

export class Tape {
  frames = 0;

  /** `list` is the element that gets the rows, `time` the estimate of the server's clock. */
  constructor(list, time) {
    this.list = list;
    this.time = time;
  }

  /** Add a received state: its version, its event, and the delay since it took effect or the size of the message. */
  addReceived({ state, type, bytes }, event) {
    this.frames += 1;
    const isUpdate = type === "STATE_UPDATE";
    const nowMs = this.time.now();
    const delay = nowMs === null ? "" : formatMs(nowMs - Date.parse(state.updated_at));
    const [name, size] = isUpdate ? [event, delay] : ["state_sync", formatKb(bytes)];
    this.#add("in", `v${state.version}`, name, size);
  }

  /** Add a command with the status of its response and its duration. */
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
