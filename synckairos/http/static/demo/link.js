// The connection of a board: a client of the SDK that watches one session, and the status that the page shows.

import { Refusal } from "./rest.js";
import { SessionDeleted, connect } from "./sdk.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const STATES = new Set(["STATE_SYNC", "STATE_UPDATE", "STATE_DELTA"]);
const CONNECTION_ERRORS = new Set(["UNAUTHORIZED", "CLIENT_CLOSED", "CONNECTION_ENDED"]);
const TICKET_TIMEOUT_MS = 4_000;
const OPEN_AGAIN_MS = 10_000;
const TOKEN_EXPIRED = 4005; // Close code. A new ticket for the same token would not help.

const TOKEN_ENDS = { token_expired: "The token has expired", revoked: "The token was revoked" };

export class Link extends EventTarget {
  state = null;
  status = "connecting"; // connecting | live | lost | missing | deleted | unauthorized
  unauthorizedReason = ""; // Why the server accepts the token no more, while the status is unauthorized.
  #client = null;
  #sessionId;
  #makeTicket;
  #only;
  #openTimer = 0;

  /**
   * `makeTicket(sessionId, timeoutMs)` returns a promise of a ticket for one connection. `makeTicket` is null while
   * authentication is off. `only` is the participant whose row the states have alone, null for all rows.
   */
  constructor(sessionId, makeTicket, only = null) {
    super();
    this.#only = only;
    this.#sessionId = sessionId;
    this.#makeTicket = makeTicket;
    if (UUID.test(sessionId)) this.#open();
    else this.status = "missing";
  }

  #open() {
    this.close();
    const getTicket = this.#makeTicket && (() => this.#getTicket());
    const client = connect(new URL("..", import.meta.url).href, getTicket ? { getTicket } : {});
    const watch = client.watch(this.#sessionId, this.#only === null ? {} : { only: this.#only });
    this.#client = client;
    this.state ??= watch.state; // after a reload, the last state of this tab
    client.onMessage((message) => {
      // The client has read the message when this task ends.
      if (STATES.has(message.type)) queueMicrotask(() => this.#client && this.#receive(message, watch.state));
    });
    client.onState((state) => this.#onState(state));
    watch.subscribe(() => {
      if (!watch.error || CONNECTION_ERRORS.has(watch.error.code)) return; // `onState` handles the end of the connection
      this.#end(watch.error instanceof SessionDeleted ? "deleted" : "missing");
    });
  }

  /** The client of the present connection, for elements of the SDK. Null after `close()`. */
  get client() {
    return this.#client;
  }

  /** Close the connection and do not reconnect. */
  close() {
    clearTimeout(this.#openTimer);
    const client = this.#client;
    this.#client = null;
    client?.close();
  }

  /** If the connection is lost, reconnect now instead of after the waiting time. */
  retryNow() {
    if (this.#client?.state.status === "closed") this.#open();
    else this.#client?.wake();
  }

  /** The server's time in ms since 1970. Null while it is not known, such as after a sleep of the device. */
  now() {
    return this.#client?.now() ?? null;
  }

  /** The maximum error of `now` in ms. Infinity while the time is not known. */
  get errorMs() {
    return this.#client?.errorMs ?? Infinity;
  }

  async #getTicket() {
    try {
      return await this.#makeTicket(this.#sessionId, TICKET_TIMEOUT_MS);
    } catch (error) {
      if (error instanceof Refusal && (error.status === 401 || error.status === 403)) this.#endUnauthorized(error.message);
      else if (error instanceof Refusal && (error.status === 400 || error.status === 404)) this.#end("missing");
      throw error;
    }
  }

  #onState({ status, code, reason }) {
    if (this.#client === null) return;
    if (status === "unauthorized" || code === TOKEN_EXPIRED) this.#endUnauthorized(TOKEN_ENDS[reason] ?? "");
    else if (status === "connected") this.#setStatus(this.state ? "live" : "connecting");
    else this.#setStatus("lost");
    // The client gives up if the server has too many connections. The page tries again.
    if (status === "closed") this.#openTimer = setTimeout(() => this.#open(), OPEN_AGAIN_MS);
  }

  #endUnauthorized(reason) {
    this.unauthorizedReason = reason;
    this.#end("unauthorized");
  }

  /** Close the connection, and show why it ended. */
  #end(status) {
    this.close();
    this.#setStatus(status);
  }

  #receive(message, state) {
    if (!state) return;
    const before = this.state;
    const isChange = !before || ["epoch", "version", "updated_at"].some((name) => before[name] !== state[name]);
    this.state = state;
    this.#setStatus("live");
    const bytes = JSON.stringify(message).length;
    this.dispatchEvent(new CustomEvent("state", { detail: { before, state, message, bytes, isChange } }));
  }

  #setStatus(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
