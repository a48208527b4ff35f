// The client of one server: keeps one connection and reconnects. Watches and commands continue on the next connection.
import { createApi } from "./api.js";
import { Backoff } from "./backoff.js";
import { commandMessage, Presses, showExpectedResult } from "./commands.js";
import { Connection, NO_CLOSE_FRAME, UNAUTHORIZED } from "./connection.js";
import { watchPage, type SocketLike, type WebSocketClass } from "./environment.js";
import { ClientClosed, ConnectionEnded, SyncKairosError, Unauthorized } from "./errors.js";
import type { Api } from "./generated/operations.js";
import type { ClientMessage, CommandArguments, ServerMessage } from "./generated/schemas.js";
import { Listeners, type Unsubscribe } from "./listeners.js";
import { deviceClock, LocalClock, type DeviceClock } from "./local-clock.js";
import { NamedTimers } from "./named-timers.js";
import { PendingCommands, type Ack } from "./pending-commands.js";
import { ServerClock, type Sample } from "./server-clock.js";
import { serverUrls, type ServerUrls } from "./server-url.js";
import { Subscriptions } from "./subscriptions.js";
import { TextScheduler } from "./text-scheduler.js";
import { TransportChoice, type Transport } from "./transport-choice.js";
import { Tokens, type Credentials } from "./tokens.js";
import { Watch, type CommandName, type CommandOptions, type WatchOptions, type WatchOwner } from "./watch.js";
import type { WatchedSession } from "./watched-session.js";

/** Milliseconds between two checks whether the device slept. */
const SLEEP_CHECK_MS = 1_000;

/** Milliseconds before the end of a token at which the client fetches the next one, and the shortest wait for it. */
const RENEW_BEFORE_MS = 60_000;
const MIN_RENEW_MS = 10_000;

const TOKEN_EXPIRED = 4005;

/** Close codes of a connection whose only session does not exist. The client can still watch another session. */
const SESSION_CODES = [4504, 4510];

/** Options of `connect`. */
export interface ConnectOptions extends Credentials {
  /** Participant that this client represents to other watchers. With authentication: the participant of the token. */
  participantId?: string;
  /** WebSocket class. Default: the global one. Node 20 has none; pass `WebSocket` of the package `ws`. */
  WebSocket?: WebSocketClass;
  /** Function for REST requests and event streams. Default: the global `fetch`. */
  fetch?: typeof fetch;
  /**
   * The transports that the client uses. `auto` uses WebSockets, and an event stream after two WebSockets without a
   * message, until WebSockets work again. Default: `auto`.
   */
  transport?: "auto" | Transport;
  /** Clocks and timers of the device. Tests give others. */
  device?: DeviceClock;
}

/** The status of a connection. After `unauthorized` and `closed` the client does not reconnect. */
export type ConnectionStatus = "connecting" | "connected" | "reconnecting" | "unauthorized" | "closed";

/** The state of a client's connection, and the close code and reason of the last end. */
export interface ConnectionState {
  status: ConnectionStatus;
  /** Close code of the last connection that ended, 1006 if it ended without a close frame. Absent before the first end. */
  code?: number;
  reason?: string;
}

/** Connect to the server at `url`, such as `https://host` or `wss://host/ws`. Returns at once, and stays connected. */
export const connect = (url: string, options: ConnectOptions = {}): SyncKairosClient => new SyncKairosClient(url, options);

/** A client of one server. `connect` makes it. */
export class SyncKairosClient implements WatchOwner {
  /** The REST operations of the server. */
  readonly api: Api;
  /** @internal */
  readonly scheduler: TextScheduler;
  readonly #urls: ServerUrls;
  readonly #tokens: Tokens;
  readonly #clock: LocalClock;
  readonly #timers: NamedTimers;
  readonly #serverClock = new ServerClock();
  readonly #backoff = new Backoff();
  readonly #transports: TransportChoice;
  readonly #pending = new PendingCommands();
  readonly #presses = new Presses();
  readonly #subscriptions: Subscriptions;
  readonly #stateListeners = new Listeners<ConnectionState>();
  readonly #messageListeners = new Listeners<ServerMessage>();
  readonly #sentListeners = new Listeners<ClientMessage>();
  readonly #stopWatchingPage: Unsubscribe;
  #state: ConnectionState = { status: "connecting" };
  #connection: Connection | null = null;
  #isReady = false;
  #isRenewing = false;
  /** Instant of the local clock at which a server that stops asked the client to return, in ms. */
  #returnAtMs: number | null = null;
  #knownSleeps: number;
  #failure: SyncKairosError | null = null;

  constructor(url: string, options: ConnectOptions = {}) {
    const device = options.device ?? deviceClock;
    this.#urls = serverUrls(url);
    this.#tokens = new Tokens(options);
    this.#clock = new LocalClock(device);
    this.#knownSleeps = this.#clock.countSleeps();
    this.#timers = new NamedTimers(device);
    this.scheduler = new TextScheduler(this.#clock);
    const request = options.fetch ?? ((...args: Parameters<typeof fetch>) => globalThis.fetch(...args));
    this.#transports = new TransportChoice(options.transport, this.#urls, options.WebSocket, request, device);
    this.api = createApi({ baseUrl: this.#urls.http, tokens: this.#tokens, device, fetch: request });
    this.#subscriptions = new Subscriptions({
      serverUrl: this.#urls.http,
      participantId: options.participantId,
      timers: this.#timers,
      backoff: this.#backoff,
      send: (message) => {
        if (this.#isReady) this.#connection?.send(message);
        return this.#isReady;
      },
      changed: () => this.scheduler.refreshAll(),
    });
    this.#stopWatchingPage = watchPage(
      () => this.wake(),
      () => this.#subscriptions.save(),
    );
    this.#checkSleepLater();
    void this.#connect();
  }

  /** The state of the connection. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The transport of the present connection, or of the last one. */
  get transport(): Transport {
    return this.#transports.current;
  }

  /** Call a listener after each change of the connection's state. */
  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#stateListeners.add(listener);
  }

  /** Call a listener with each message of the server except PONG, for tools that show them. */
  onMessage(listener: (message: ServerMessage) => void): Unsubscribe {
    return this.#messageListeners.add(listener);
  }

  /** Call a listener with each message to the server except PING. Tokens are replaced by `…`. */
  onSent(listener: (message: ClientMessage) => void): Unsubscribe {
    return this.#sentListeners.add(listener);
  }

  /** End the connection and connect anew. Watches and commands continue on the next connection. */
  reconnect(): void {
    this.#connection?.drop(NO_CLOSE_FRAME, "the client reconnects");
  }

  /**
   * Check the connection at once: after a sleep of the device or a change of the network. Pages do this by themselves.
   * React Native calls it when the app becomes active.
   */
  wake(): void {
    this.#forgetTimeAfterSleep();
    if (this.#connection) this.#connection.probe();
    else if (this.#timers.has("connect")) void this.#connect();
    this.scheduler.refreshAll();
  }

  /** Close the connection and end all watches. All waiting calls reject with ClientClosed. */
  close(): void {
    this.#fail(new ClientClosed(), { status: "closed", code: 1000, reason: "closed by the client" });
  }

  /** Return the server's time in ms since the Unix epoch. Null before the first measurement and after a sleep. */
  now(): number | null {
    this.#forgetTimeAfterSleep();
    return this.#serverClock.nowMs(this.#clock.nowMs());
  }

  /** The maximum error of `now` in either direction, in ms. Infinity if the server's time is not known. */
  get errorMs(): number {
    this.#forgetTimeAfterSleep();
    return this.#serverClock.errorMs(this.#clock.nowMs());
  }

  /**
   * Watch a session. All watches of a session share one subscription. Throws if the connection ended permanently, or if
   * another watch of the session has another value of `only`.
   */
  watch(sessionId: string, options: WatchOptions = {}): Watch {
    if (this.#failure) throw this.#failure;
    return new Watch(this.#subscriptions.acquire(sessionId.toLowerCase(), options.only?.toLowerCase()), this);
  }

  /** @internal */
  release(session: WatchedSession): void {
    if (!this.#failure) this.#subscriptions.release(session);
  }

  /**
   * Send a command to a session. It takes effect once: the client sends it again with the same id on each connection,
   * until the server answers. Rejects with CommandRefused, or with the error that ended the connection permanently.
   */
  async command<Name extends CommandName>(
    sessionId: string,
    name: Name,
    args: CommandArguments[Name] = {} as CommandArguments[Name],
    options: CommandOptions = {},
  ): Promise<Ack> {
    if (this.#failure) throw this.#failure;
    options.signal?.throwIfAborted();
    const session = this.#subscriptions.get(sessionId.toLowerCase());
    const { roundTripMs } = this.#serverClock;
    const message = this.#presses.firstWithId(
      commandMessage(sessionId.toLowerCase(), name, args, options, session?.shown, roundTripMs),
    );
    const answer = this.#pending.add(message);
    if (session && options.optimistic !== false) showExpectedResult(session, message, this.now(), roundTripMs);
    const abandon = () => this.#pending.abandon(message.id, options.signal?.reason as Error);
    options.signal?.addEventListener("abort", abandon, { once: true });
    this.#sendCommands();
    let version: number | null = null;
    try {
      const ack = await answer;
      if (ack.expiredParticipantId === undefined) ({ version } = ack);
      return ack;
    } finally {
      session?.answered(message.id, version);
      options.signal?.removeEventListener("abort", abandon);
    }
  }

  // -- the connection -------------------------------------------------------------------------------------------------

  async #connect(): Promise<void> {
    this.#timers.cancel("connect");
    this.#returnAtMs = null;
    let query = "";
    let token: string | undefined;
    let socket: SocketLike;
    try {
      const ticket = await this.#tokens.ticket();
      if (ticket !== undefined) query = `?ticket=${encodeURIComponent(ticket)}`;
      token = await this.#tokens.token();
    } catch (error) {
      this.#reconnect(NO_CLOSE_FRAME, `no credential: ${String(error)}`, this.#backoff.nextMs());
      return;
    }
    try {
      await this.#transports.prepare();
      if (this.#failure || this.#connection) return;
      socket = this.#transports.open(query);
    } catch (error) {
      this.#transports.ended(false);
      if (error instanceof SyncKairosError) this.#fail(error);
      else this.#reconnect(NO_CLOSE_FRAME, String(error), this.#backoff.nextMs());
      return;
    }
    this.#connection = new Connection(socket, token, this.#clock, {
      ready: () => this.#ready(),
      sample: (sample) => this.#addSample(sample),
      message: (message) => this.#received(message),
      sent: (message) => this.#sentListeners.notify("token" in message ? { ...message, token: "…" } : message),
      ended: (code, reason, wasReady) => this.#ended(code, reason, wasReady),
    });
  }

  #ready(): void {
    this.#isReady = true;
    this.#tokens.accepted();
    this.#transports.opened(() => this.#changeTransport());
    this.#setState({ ...this.#state, status: "connected" });
    this.#subscriptions.subscribeAll();
    this.#sendCommands();
  }

  #ended(code: number, reason: string, wasReady: boolean): void {
    this.#transports.ended(this.#connection?.hasReceived ?? false);
    this.#connection = null;
    this.#isReady = false;
    this.#timers.cancel("renew");
    this.#timers.cancel("goaway");
    this.#pending.connectionEnded();
    if (code === UNAUTHORIZED && !wasReady && this.#tokens.refused()) {
      this.#reconnect(code, reason, this.#backoff.nextMs());
    } else if (code === UNAUTHORIZED || (code === TOKEN_EXPIRED && !this.#tokens.canReconnect)) {
      this.#fail(new Unauthorized(reason || "a credential is required"), { status: "unauthorized", code, reason });
    } else if (code >= 4500 && code <= 4999 && !SESSION_CODES.includes(code)) {
      this.#fail(new ConnectionEnded(code, reason), { status: "closed", code, reason });
    } else if (code === TOKEN_EXPIRED) {
      this.#tokens.expired();
      this.#reconnect(code, reason, 0);
    } else {
      const delayMs = this.#returnAtMs === null ? this.#backoff.nextMs() : this.#returnAtMs - this.#clock.nowMs();
      this.#reconnect(code, reason, Math.max(0, delayMs));
    }
  }

  /** Replace the event stream by a WebSocket, without a delay. */
  #changeTransport(): void {
    this.#returnAtMs = 0;
    this.#connection?.drop(NO_CLOSE_FRAME, "WebSockets work again");
  }

  #reconnect(code: number, reason: string, delayMs: number): void {
    if (this.#failure) return;
    this.#setState({ status: "reconnecting", code, reason });
    this.#timers.after("connect", delayMs, () => void this.#connect());
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#stateListeners.notify(state);
  }

  #fail(error: SyncKairosError, state: ConnectionState = { status: "closed", reason: error.message }): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#stopWatchingPage();
    this.#timers.cancelAll();
    this.#transports.stop();
    this.#connection?.drop(1000, "closed");
    this.#pending.failAll(error);
    this.#subscriptions.failAll(error);
    this.#setState(state);
  }

  // -- messages -------------------------------------------------------------------------------------------------------

  #sendCommands(): void {
    if (this.#isReady) this.#pending.sendWaiting((message) => this.#connection?.send(message));
  }

  #received(message: ServerMessage): void {
    this.#messageListeners.notify(message);
    switch (message.type) {
      case "ACK":
        if (this.#pending.settle(message)) this.#sendCommands();
        break;
      case "ERROR":
        if (this.#pending.settle(message)) this.#sendCommands();
        // The server requires a credential, and this connection has none.
        else if (message.code === "UNAUTHORIZED" && message.session_id) this.#connection?.drop(UNAUTHORIZED, message.message);
        else this.#subscriptions.refused(message);
        break;
      case "AUTHENTICATED":
        this.#renewIn(Math.max(MIN_RENEW_MS, message.expires_in_ms - RENEW_BEFORE_MS, message.expires_in_ms / 2));
        break;
      case "REAUTH":
        void this.#renew();
        break;
      case "GOAWAY":
        this.#returnAtMs = this.#clock.nowMs() + message.retry_after_ms;
        this.#timers.after("goaway", message.retry_after_ms, () => this.#connection?.drop(4000, "going away"));
        break;
      case "PONG":
        break;
      default:
        // A connection counts as good when the server has answered a subscription.
        if (this.#subscriptions.received(message)) this.#backoff.reset();
    }
  }

  // -- credentials ----------------------------------------------------------------------------------------------------

  #renewIn(delayMs: number): void {
    if (this.#tokens.canRenew) this.#timers.after("renew", delayMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const connection = this.#connection;
    if (!this.#tokens.canRenew || this.#isRenewing || !connection) return;
    this.#isRenewing = true;
    try {
      const token = await this.#tokens.token(true);
      if (this.#connection === connection && token !== undefined) connection.send({ type: "REFRESH", token });
    } catch {
      // The server announces the end of the token once more, or closes the connection. Both ask for a token again.
    } finally {
      this.#isRenewing = false;
    }
  }

  // -- time -----------------------------------------------------------------------------------------------------------

  #addSample(sample: Sample): void {
    this.#forgetTimeAfterSleep();
    const wasKnown = this.#serverClock.isKnown;
    this.#serverClock.add(sample);
    this.#timeChanged(wasKnown);
  }

  #checkSleepLater(): void {
    this.#timers.after("sleep", SLEEP_CHECK_MS, () => {
      this.#forgetTimeAfterSleep();
      this.#checkSleepLater();
    });
  }

  #forgetTimeAfterSleep(): void {
    const sleeps = this.#clock.countSleeps();
    if (sleeps === this.#knownSleeps) return;
    this.#knownSleeps = sleeps;
    const wasKnown = this.#serverClock.isKnown;
    this.#serverClock.clear();
    this.#connection?.probe();
    // This can run while a listener reads a clock, so the listeners are called afterwards.
    queueMicrotask(() => this.#timeChanged(wasKnown));
  }

  #timeChanged(wasKnown: boolean): void {
    if (wasKnown === this.#serverClock.isKnown) return;
    for (const session of this.#subscriptions.all()) session.changes.notify();
  }
}
