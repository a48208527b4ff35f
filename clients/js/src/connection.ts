// One connection over a WebSocket or an event stream: authenticates, sends at a limited rate, measures the server's time, and detects a silent
// server. It does not know sessions.
import { isHidden, type SocketLike } from "./environment.js";
import type { AuthenticatedMessage, ClientMessage, ErrorMessage, ServerMessage } from "./generated/schemas.js";
import type { LocalClock } from "./local-clock.js";
import { NamedTimers } from "./named-timers.js";
import { sampleOfPing, type Sample } from "./server-clock.js";

/** The dialect of all connections. */
export const SUBPROTOCOL = "synckairos.v3";

/** Milliseconds: maximum duration of connecting, of the handshake and of AUTH together. */
const OPEN_TIMEOUT_MS = 10_000;

/** Number of PINGs that a new connection sends one after the other, for a good first sample. */
const INITIAL_PINGS = 4;

const PING_INTERVAL_MS = 10_000;

/** Milliseconds without a PONG after which the server counts as silent. */
const PONG_TIMEOUT_MS = 15_000;

/** Milliseconds without a PONG after which the server counts as silent, if the device woke up or came online. */
const WAKE_TIMEOUT_MS = 2_000;

/** Messages per second and without a delay. The server closes connections that exceed its own, higher limits. */
const MESSAGES_PER_S = 150;
const MESSAGE_BURST = 300;

/** Close code that this package uses for a connection that ended without a close frame. */
export const NO_CLOSE_FRAME = 1006;

/** Close code of a connection whose credential was refused or revoked. */
export const UNAUTHORIZED = 4501;

/** What a connection reports to its owner. */
export interface ConnectionEvents {
  /** The connection is open and authenticated. */
  ready(): void;
  sample(sample: Sample): void;
  message(message: ServerMessage): void;
  /** A message left, except PING. */
  sent(message: ClientMessage): void;
  /** The connection ended. It is called exactly once. `wasReady` is whether `ready` was called before. */
  ended(code: number, reason: string, wasReady: boolean): void;
}

/** An open or opening connection. */
export class Connection {
  #isReady = false;
  #hasReceived = false;
  #isOver = false;
  #authRefusal: string | null = null;
  #queue: ClientMessage[] = [];
  #allowance = MESSAGE_BURST;
  #countedMs: number;
  #pings = new Map<string, { sleeps: number; sentMs: number }>();
  #pingCount = 0;
  #initialPings = 0;
  readonly #timers: NamedTimers;

  constructor(
    private readonly socket: SocketLike,
    private readonly token: string | undefined,
    private readonly clock: LocalClock,
    private readonly events: ConnectionEvents,
  ) {
    this.#countedMs = clock.nowMs();
    this.#timers = new NamedTimers(clock.device);
    this.#timers.after("open", OPEN_TIMEOUT_MS, () => this.drop(NO_CLOSE_FRAME, "no connection in time"));
    this.socket.onopen = () => this.#opened();
    this.socket.onmessage = (event: { data: unknown }) => this.#received(String(event.data));
    this.socket.onerror = () => {};
    this.socket.onclose = (event: { code: number; reason: string }) => this.#ended(event.code, event.reason);
  }

  /** Whether the server has sent a message, so that its transport works. */
  get hasReceived(): boolean {
    return this.#hasReceived;
  }

  /** Send a message, later if the rate limit requires it. When the connection ends, unsent messages are lost. */
  send(message: ClientMessage): void {
    this.#queue.push(message);
    this.#flush();
  }

  /** Measure the server's time at once. If the server does not answer within 2 s, it counts as silent. */
  probe(): void {
    if (!this.#isReady) return;
    this.#pings.clear();
    this.#initialPings = 0;
    this.#ping(WAKE_TIMEOUT_MS);
  }

  /** End the connection without waiting for the server. */
  drop(code: number, reason: string): void {
    if (this.#isOver) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    try {
      this.socket.close(1000, reason);
    } catch {
      // Some environments throw if the socket is still connecting. The socket then closes by itself.
    }
    this.#ended(code, reason);
  }

  #opened(): void {
    if (this.socket.protocol !== SUBPROTOCOL) {
      this.drop(4500, `the server does not offer ${SUBPROTOCOL}`);
      return;
    }
    this.#ping();
    if (this.token === undefined) this.#ready();
    else this.#write({ type: "AUTH", id: "auth", token: this.token });
  }

  #ready(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#timers.cancel("open");
    this.events.ready();
    this.#flush();
  }

  #received(text: string): void {
    const receivedMs = this.clock.nowMs();
    this.#hasReceived = true;
    const message = JSON.parse(text) as ServerMessage;
    if (message.type === "PONG") {
      this.#pong(message.reply_to, message.t1, message.t2, receivedMs, message.error_ms);
      return;
    }
    const isAnswerToAuth = !this.#isReady && "reply_to" in message && message.reply_to === "auth";
    if (isAnswerToAuth) this.#authAnswered(message as AuthenticatedMessage | ErrorMessage);
    if (!isAnswerToAuth || message.type === "AUTHENTICATED") this.events.message(message);
  }

  #authAnswered(answer: AuthenticatedMessage | ErrorMessage): void {
    if (answer.type === "ERROR") this.#authRefusal = answer.message;
    // A server without authentication refuses AUTH with FORBIDDEN and keeps the connection open. Any other server closes
    // the connection after a refusal.
    if (answer.type === "AUTHENTICATED" || answer.code === "FORBIDDEN") this.#ready();
  }

  #ended(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timers.cancelAll();
    this.#queue = [];
    const isRefused = this.#authRefusal !== null && code === UNAUTHORIZED;
    const shownReason = isRefused ? (this.#authRefusal as string) : reason;
    this.events.ended(code || NO_CLOSE_FRAME, shownReason, this.#isReady && !isRefused);
  }

  // -- sending --------------------------------------------------------------------------------------------------------

  #flush(): void {
    const nowMs = this.clock.nowMs();
    this.#allowance = Math.min(MESSAGE_BURST, this.#allowance + ((nowMs - this.#countedMs) * MESSAGES_PER_S) / 1000);
    this.#countedMs = nowMs;
    while (this.#isReady && this.#queue.length && this.#allowance >= 1) {
      this.#allowance -= 1;
      this.#write(this.#queue.shift() as ClientMessage);
    }
    if (this.#isReady && this.#queue.length) this.#timers.after("send", 1000 / MESSAGES_PER_S, () => this.#flush());
  }

  #write(message: ClientMessage): void {
    // A socket that closes cannot send. Its end is reported separately, and the next connection repeats the message.
    if (this.#isOver || this.socket.readyState !== 1) return;
    this.socket.send(JSON.stringify(message));
    if (message.type !== "PING") this.events.sent(message);
  }

  // -- the server's time ----------------------------------------------------------------------------------------------

  #ping(timeoutMs = PONG_TIMEOUT_MS): void {
    const id = `ping-${++this.#pingCount}`;
    const sentMs = this.clock.nowMs();
    this.#pings.set(id, { sleeps: this.clock.countSleeps(), sentMs });
    this.#write({ type: "PING", id, t0: sentMs });
    this.#timers.after("silent", timeoutMs, () => this.#silent());
  }

  #pong(id: string | undefined, t1: number, t2: number, receivedMs: number, serverErrorMs: number | null): void {
    const ping = this.#pings.get(id ?? "");
    if (!ping) return;
    this.#pings.clear();
    this.#timers.cancel("silent");
    // A device that slept between the two messages makes the measurement useless.
    if (this.clock.countSleeps() !== ping.sleeps) {
      this.#ping(WAKE_TIMEOUT_MS);
      return;
    }
    this.events.sample(sampleOfPing(ping.sentMs, t1, t2, receivedMs, serverErrorMs));
    if (++this.#initialPings < INITIAL_PINGS) this.#ping();
    else this.#timers.after("ping", PING_INTERVAL_MS, () => this.#ping());
  }

  #silent(): void {
    // Timers of hidden pages are late, so that silence says nothing. The page sends a PING when it becomes visible.
    if (isHidden()) this.#timers.after("silent", PONG_TIMEOUT_MS, () => this.#silent());
    else this.drop(NO_CLOSE_FRAME, "the server is silent");
  }
}
