// The transport of the next connection: a WebSocket, or an event stream after two WebSockets without a message.
import { SUBPROTOCOL } from "./connection.js";
import type { SocketLike, WebSocketClass } from "./environment.js";
import { SyncKairosError } from "./errors.js";
import type { EventStream } from "./event-stream.js";
import type { DeviceClock } from "./local-clock.js";
import { NamedTimers } from "./named-timers.js";
import type { ServerUrls } from "./server-url.js";

/** How messages travel: over a WebSocket, or over an event stream with requests where WebSockets are blocked. */
export type Transport = "websocket" | "event-stream";

/** Number of WebSockets without a message after which the next connection is an event stream. */
const MAX_FAILED_UPGRADES = 2;

/** Milliseconds on an event stream until the client tries a WebSocket, the first time and at most. */
const FIRST_TRIAL_MS = 20_000;
const LONGEST_TRIAL_MS = 600_000;

/** Milliseconds in which a WebSocket must have an answer of the server. */
const TRIAL_TIMEOUT_MS = 10_000;

/** Selects the transport of each connection of a client, and opens its socket. */
export class TransportChoice {
  /** The transport of the present connection, or of the last one. */
  current: Transport = "websocket";
  #failedUpgrades = 0;
  #trialMs = FIRST_TRIAL_MS;
  #trial: SocketLike | null = null;
  #EventStream: typeof EventStream | null = null;
  readonly #timers: NamedTimers;

  constructor(
    private readonly wanted: "auto" | Transport = "auto",
    private readonly urls: ServerUrls,
    private readonly WebSocket: WebSocketClass | undefined,
    private readonly fetch: typeof globalThis.fetch,
    private readonly device: DeviceClock,
  ) {
    this.#timers = new NamedTimers(device);
  }

  /** Select the transport of the next connection, and load its module. */
  async prepare(): Promise<void> {
    const isBlocked = this.wanted === "auto" && this.#failedUpgrades >= MAX_FAILED_UPGRADES;
    this.current = isBlocked || this.wanted === "event-stream" ? "event-stream" : "websocket";
    if (this.current === "event-stream") this.#EventStream ??= (await import("./event-stream.js")).EventStream;
  }

  /** Open the socket of the next connection. `query` is the query of its URL, empty or with `?`. */
  open(query: string): SocketLike {
    this.stop();
    if (this.current === "websocket" || !this.#EventStream) return this.#openWebSocket(query);
    return new this.#EventStream(this.urls.http, query, SUBPROTOCOL, this.fetch, new NamedTimers(this.device));
  }

  /** Note that the connection is open. On an event stream, try WebSockets from time to time, and call `back` if one opens. */
  opened(back: () => void): void {
    if (this.current === "event-stream" && this.wanted === "auto") this.#tryLater(back);
  }

  /** Note that a connection ended. `hasReceived` is whether it had a message of the server. */
  ended(hasReceived: boolean): void {
    this.stop();
    if (this.current === "websocket") this.#failedUpgrades = hasReceived ? 0 : this.#failedUpgrades + 1;
    // If both transports fail, the server or the network is away, and they take turns.
    else if (!hasReceived) this.#failedUpgrades = MAX_FAILED_UPGRADES - 1;
  }

  /** Do not try WebSockets any more on the present connection. */
  stop(): void {
    this.#timers.cancelAll();
    const trial = this.#trial;
    this.#trial = null;
    if (!trial) return;
    trial.onopen = trial.onmessage = trial.onclose = null;
    trial.close();
  }

  #tryLater(back: () => void): void {
    this.#timers.after("trial", this.#trialMs, () => {
      this.#trialMs = Math.min(this.#trialMs * 2, LONGEST_TRIAL_MS);
      const trial = (this.#trial = this.#openWebSocket(""));
      const failed = () => {
        this.stop();
        this.#tryLater(back);
      };
      trial.onerror = () => {};
      trial.onclose = failed;
      this.#timers.after("trial", TRIAL_TIMEOUT_MS, failed);
      // The answer to a PING shows that messages pass, and not only the handshake.
      trial.onopen = () => trial.send('{"type":"PING","t0":0}');
      trial.onmessage = () => {
        this.stop();
        this.#failedUpgrades = 0;
        this.#trialMs = FIRST_TRIAL_MS;
        back();
      };
    });
  }

  #openWebSocket(query: string): SocketLike {
    const Class = this.WebSocket ?? (globalThis as unknown as { WebSocket?: WebSocketClass }).WebSocket;
    if (!Class) throw new SyncKairosError("NO_WEBSOCKET", "There is no global WebSocket; pass the option WebSocket");
    return new Class(this.urls.socket + query, [SUBPROTOCOL]);
  }
}
