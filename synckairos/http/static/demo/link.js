// Socket of one session, in the v2 dialect of /ws. The link connects, requests the state, detects a silent connection
// and reconnects. It keeps only the newest state of the session.

import { Refusal } from "./rest.js";

const PING_INTERVAL_MS = 5_000;
const REPLY_TIMEOUT_MS = 4_000;
const REQUEST_STATE_AFTER_MS = 300; // The server reports a missing session only to a client that requests its state.
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8_000;
const POLICY_VIOLATION = 1008; // Close code of a refused connection, and of a connection whose token has ended.

const TOKEN_ENDS = { token_expired: "The token has expired", revoked: "The token was revoked" };
const RETRIED_REASONS = new Set(["Unauthorized", "maximum age", "disconnected"]); // A new ticket can help.

export class Link extends EventTarget {
  state = null;
  status = "connecting"; // connecting | live | lost | missing | deleted | unauthorized
  unauthorizedReason = ""; // Why the server accepts the token no more, while the status is unauthorized.
  retryAtMs = null;
  rttMs = null;
  #sessionId;
  #makeTicket;
  #socket = null;
  #connects = 0; // Number of begun connections. A ticket that arrives after its connection was given up is not used.
  #attempt = 0;
  #timers = { retry: 0, ping: 0, reply: 0, request: 0 };
  #pingedMs = null;
  #wasConnected = false;

  /**
   * `makeTicket(sessionId, timeoutMs)` returns a promise of a ticket for one connection. `makeTicket` is null while
   * authentication is off.
   */
  constructor(sessionId, makeTicket) {
    super();
    this.#sessionId = sessionId;
    this.#makeTicket = makeTicket;
    this.onWake = () => this.#wake();
    addEventListener("online", this.onWake);
    document.addEventListener("visibilitychange", this.onWake);
    this.#connect();
  }

  /** Close the socket and do not reconnect. */
  close() {
    removeEventListener("online", this.onWake);
    document.removeEventListener("visibilitychange", this.onWake);
    this.#disconnect();
  }

  /** If the connection is lost, reconnect now instead of after the waiting time. */
  retryNow() {
    if (this.status !== "lost") return;
    this.#disconnect();
    this.#connect();
  }

  async #connect() {
    this.retryAtMs = null;
    const connect = (this.#connects += 1);
    let ticket = null;
    try {
      ticket = this.#makeTicket && (await this.#makeTicket(this.#sessionId, REPLY_TIMEOUT_MS));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (connect === this.#connects) this.#handleRefusedTicket(error);
      return;
    }
    if (connect === this.#connects) this.#open(ticket);
  }

  #open(ticket) {
    const url = new URL(`../ws?sessionId=${encodeURIComponent(this.#sessionId)}`, import.meta.url);
    if (ticket) url.searchParams.set("ticket", ticket);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#expectReply(); // A handshake without an answer also counts as a lost connection.
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = (event) => this.#handleClose(event.code, event.reason);
  }

  #handleRefusedTicket(refusal) {
    if (refusal.status === 401 || refusal.status === 403) this.#endUnauthorized(refusal.message);
    else if (refusal.status === 400 || refusal.status === 404) this.#setStatus("missing");
    else this.#reconnectLater(refusal.waitS * 1000);
  }

  #handleClose(code, reason) {
    if (code !== POLICY_VIOLATION) return this.#reconnectLater();
    if (reason in TOKEN_ENDS) return this.#endUnauthorized(TOKEN_ENDS[reason]);
    if (!this.#makeTicket && reason === "Unauthorized") return this.#endUnauthorized("");
    if (RETRIED_REASONS.has(reason)) return this.#reconnectLater();
    this.#disconnect();
    return this.#setStatus("missing");
  }

  #endUnauthorized(reason) {
    this.#disconnect();
    this.unauthorizedReason = reason;
    this.#setStatus("unauthorized");
  }

  #receive(text) {
    const message = JSON.parse(text);
    clearTimeout(this.#timers.reply);
    switch (message.type) {
      case "CONNECTED":
        this.#attempt = 0;
        if (this.#wasConnected) this.#send("RECONNECT");
        this.#wasConnected = true;
        this.#ping();
        break;
      case "STATE_SYNC":
      case "STATE_UPDATE":
        this.#setState(message.state, message.type, text.length);
        break;
      case "PONG":
        this.rttMs = performance.now() - this.#pingedMs;
        if (this.state) this.#setStatus("live");
        else this.#timers.request = setTimeout(() => this.state || this.#send("RECONNECT"), REQUEST_STATE_AFTER_MS);
        break;
      case "SESSION_DELETED":
        this.#setStatus("deleted");
        this.#disconnect();
        break;
      case "ERROR":
        if (message.code === "SESSION_NOT_FOUND") {
          this.#setStatus("missing");
          this.#disconnect();
        }
        break;
    }
  }

  /** Accept the newest message as the current state, even with a lower version: a failover can lose versions. */
  #setState(state, type, bytes) {
    const before = this.state;
    const isChange = !before || ["epoch", "version", "updated_at"].some((name) => before[name] !== state[name]);
    this.state = state;
    this.#setStatus("live");
    this.dispatchEvent(new CustomEvent("state", { detail: { before, state, type, bytes, isChange } }));
  }

  #send(type) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type }));
  }

  #ping() {
    clearTimeout(this.#timers.ping);
    this.#pingedMs = performance.now();
    this.#send("PING");
    this.#expectReply();
    this.#timers.ping = setTimeout(() => this.#ping(), PING_INTERVAL_MS);
  }

  #expectReply() {
    clearTimeout(this.#timers.reply);
    this.#timers.reply = setTimeout(() => this.#reconnectLater(), REPLY_TIMEOUT_MS);
  }

  #reconnectLater(leastWaitMs = 0) {
    this.#disconnect();
    // Full jitter: after a restart of the server, the clients reconnect at different random times.
    const jitterMs = Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempt);
    const waitMs = leastWaitMs + jitterMs;
    this.#attempt += 1;
    this.retryAtMs = performance.now() + waitMs;
    this.#timers.retry = setTimeout(() => this.#connect(), waitMs);
    return this.#setStatus("lost");
  }

  #wake() {
    if (document.hidden) return;
    if (this.status === "lost") this.retryNow();
    else if (this.#socket) {
      this.#send("RECONNECT");
      this.#ping();
    }
  }

  #disconnect() {
    Object.values(this.#timers).forEach(clearTimeout);
    this.#connects += 1;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #setStatus(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
