// A WebSocket that delays each message, as a slow network does.

let delayMs = 0;

/** Set the delay of messages in each direction, in ms, for all connections of the page. */
export const setDelay = (ms) => (delayMs = ms);

/** The WebSocket of the client of the playground. Messages keep their order, also if the delay changes. */
export class LaggingSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #socket;
  #sendAtMs = 0;
  #receiveAtMs = 0;

  constructor(url, protocols) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.onopen = (event) => this.onopen?.(event);
    this.#socket.onerror = (event) => this.onerror?.(event);
    this.#socket.onclose = (event) => this.onclose?.(event);
    this.#socket.onmessage = (event) => {
      this.#receiveAtMs = runLater(this.#receiveAtMs, () => this.onmessage?.(event));
    };
  }

  get readyState() {
    return this.#socket.readyState;
  }

  get protocol() {
    return this.#socket.protocol;
  }

  send(data) {
    this.#sendAtMs = runLater(this.#sendAtMs, () => this.#socket.readyState === WebSocket.OPEN && this.#socket.send(data));
  }

  close(code, reason) {
    this.#socket.close(code, reason);
  }
}

/** Call a function after the delay, but not before `earliestMs` of `performance.now()`. Return the instant of the call. */
function runLater(earliestMs, call) {
  const nowMs = performance.now();
  const atMs = Math.max(earliestMs, nowMs + delayMs);
  if (atMs <= nowMs) call();
  else setTimeout(call, atMs - nowMs);
  return atMs;
}
