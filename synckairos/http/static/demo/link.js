// One socket to one session (the plain dialect of /ws): connects, asks for the state, notices silence, comes back.
// It keeps the newest state and nothing else; what to show is the board's business.

const PING_EVERY_MS = 5_000;
const SILENCE_MS = 4_000;
const ASK_AFTER_MS = 300; // a session that isn't there is told only to who asks for it
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8_000;
const REFUSED = 1008;

export class Link extends EventTarget {
  state = null;
  status = "connecting"; // connecting | live | lost | missing | deleted
  retryAtMs = null;
  rttMs = null;
  #sessionId;
  #socket = null;
  #attempt = 0;
  #timers = { retry: 0, ping: 0, silence: 0, ask: 0 };
  #pingedMs = null;
  #hadConnection = false;

  constructor(sessionId) {
    super();
    this.#sessionId = sessionId;
    this.onWake = () => this.#wake();
    addEventListener("online", this.onWake);
    document.addEventListener("visibilitychange", this.onWake);
    this.#connect();
  }

  /** End it for good. */
  close() {
    removeEventListener("online", this.onWake);
    document.removeEventListener("visibilitychange", this.onWake);
    this.#drop();
  }

  /** Try now rather than when the wait is over. */
  retryNow() {
    if (this.status !== "lost") return;
    this.#drop();
    this.#connect();
  }

  #connect() {
    const url = new URL(`/ws?sessionId=${encodeURIComponent(this.#sessionId)}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.retryAtMs = null;
    this.#expectAnswer(); // a handshake that hangs is a lost connection, too
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = (event) => this.#lose(event.code);
  }

  #receive(text) {
    const message = JSON.parse(text);
    clearTimeout(this.#timers.silence);
    switch (message.type) {
      case "CONNECTED":
        this.#attempt = 0;
        if (this.#hadConnection) this.#send("RECONNECT");
        this.#hadConnection = true;
        this.#ping();
        break;
      case "STATE_SYNC":
      case "STATE_UPDATE":
        this.#take(message.state, message.type, text.length);
        break;
      case "PONG":
        this.rttMs = performance.now() - this.#pingedMs;
        if (this.state) this.#become("live");
        else this.#timers.ask = setTimeout(() => this.state || this.#send("RECONNECT"), ASK_AFTER_MS);
        break;
      case "SESSION_DELETED":
        this.#become("deleted");
        this.#drop();
        break;
      case "ERROR":
        if (message.code === "SESSION_NOT_FOUND") {
          this.#become("missing");
          this.#drop();
        }
        break;
    }
  }

  /** Take what came last on the socket for the truth, also a version that is no higher: a store may lose some. */
  #take(state, type, bytes) {
    const before = this.state;
    const isNews = !before || ["epoch", "version", "updated_at"].some((name) => before[name] !== state[name]);
    this.state = state;
    this.#become("live");
    this.dispatchEvent(new CustomEvent("state", { detail: { before, state, type, bytes, isNews } }));
  }

  #send(type) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type }));
  }

  #ping() {
    clearTimeout(this.#timers.ping);
    this.#pingedMs = performance.now();
    this.#send("PING");
    this.#expectAnswer();
    this.#timers.ping = setTimeout(() => this.#ping(), PING_EVERY_MS);
  }

  #expectAnswer() {
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => this.#lose(0), SILENCE_MS);
  }

  #lose(code) {
    this.#drop();
    if (code === REFUSED) return this.#become("missing");
    // Full jitter: after a restart the watchers come back spread over the wait, not all at its end.
    const waitMs = Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    this.retryAtMs = performance.now() + waitMs;
    this.#timers.retry = setTimeout(() => this.#connect(), waitMs);
    return this.#become("lost");
  }

  #wake() {
    if (document.hidden) return;
    if (this.status === "lost") this.retryNow();
    else if (this.#socket) {
      this.#send("RECONNECT");
      this.#ping();
    }
  }

  #drop() {
    Object.values(this.#timers).forEach(clearTimeout);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #become(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
