// A server in memory for tests of pages: the same protocol, without a network and without real time.
//
// It decides `start`, `switch`, `pause` and `resume` by the same rules as the client expects them, and `complete`,
// `cancel`, `delete` and `update_metadata`. It ends sessions at their deadline under `on_timeout: expire` and `pause`.
// It has no history, no roles and no limits.
import { predict } from "../clock/transitions.js";
import { isPredictable } from "../clock/predict.js";
import { instantText } from "../clock/derived-members.js";
import { instantMs, isFinal, turnNumber } from "../clock/readings.js";
import type {
  ClientMessage,
  CommandArguments,
  CommandMessage,
  CreateSession,
  ServerMessage,
  SessionView,
  SubscribeMessage,
} from "../generated/schemas.js";
import type { ConnectOptions } from "../index.js";
import { mergePatch } from "../merge-patch.js";
import { makeSession } from "./create-session.js";
import { FakeDevice } from "./fake-device.js";
import { FakeSocket } from "./fake-socket.js";

type Refusal = { code: string; message: string; details?: unknown };

/** A server in memory. Pass `options` to `connect`. */
export class FakeServer {
  /** The device of the clients. Its clock is also the clock of the server. `advance` lets time pass for both. */
  readonly device = new FakeDevice();
  /** Every message that clients sent, oldest first. */
  readonly received: ClientMessage[] = [];
  readonly #sessions = new Map<string, SessionView>();
  readonly #sockets = new Set<FakeSocket>();
  readonly #answers = new Map<string, ServerMessage>();
  #refusals: Refusal[] = [];
  #isAway = false;
  #made = 0;

  /** Options of `connect` for a client of this server: `connect("ws://fake", server.options)`. */
  get options(): Pick<ConnectOptions, "WebSocket" | "device" | "transport"> {
    const server = this;
    return {
      device: this.device,
      transport: "websocket",
      WebSocket: class extends FakeSocket {
        constructor(_url: string, protocols: string[]) {
          super(protocols[0] ?? "", (socket) => server.#connected(socket), (socket, message) => server.#handle(socket, message));
        }
      },
    };
  }

  /** The server's time in ms since the Unix epoch. */
  now(): number {
    return this.device.wallMs();
  }

  /** Create a pending session. Throws if the fake does not support the policy `on_timeout: advance`. */
  createSession(body: CreateSession): SessionView {
    if (body.on_timeout === "advance") throw new TypeError("the fake server does not support on_timeout: advance");
    this.#made += 1;
    const id = body.session_id ?? `00000000-0000-4000-8000-${String(this.#made).padStart(12, "0")}`;
    const session = makeSession(body, id, `epoch-${this.#made}`, this.now());
    this.#sessions.set(id, session);
    return session;
  }

  /** Return a session as the server has it now. */
  session(sessionId: string): SessionView | undefined {
    return this.#sessions.get(sessionId);
  }

  /** Let time pass for the server and its clients. Messages arrive, and sessions end at their deadlines. */
  async advance(ms: number): Promise<void> {
    const endMs = this.now() + ms;
    do {
      const dues = [...this.#sessions.values()].map((each) => (dueMs(each) ?? Infinity) - this.now());
      const stepMs = Math.max(0, Math.min(endMs - this.now(), this.device.nextTimerInMs, ...dues));
      this.device.advance(stepMs);
      for (const each of this.#sessions.values()) this.#expire(each);
      await this.settle();
    } while (this.now() < endMs);
  }

  /** Wait until all messages have arrived. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  }

  /** Execute a command as another client would. Throws the refusal as an object with `code` and `message`. */
  command<Name extends keyof CommandArguments>(sessionId: string, name: Name, args?: CommandArguments[Name]): SessionView {
    const session = this.#sessions.get(sessionId);
    if (!session) throw { code: "SESSION_NOT_FOUND", message: `There is no session ${sessionId}` };
    return this.#commit(session, this.#decide(session, name, (args ?? {}) as Record<string, unknown>));
  }

  /** Refuse the next command of a client with this code. */
  refuseNext(code: string, message = `The fake server refuses with ${code}`, details?: unknown): void {
    this.#refusals.push({ code, message, details });
  }

  /** Close all connections with a close code. 1006 is a broken network. */
  disconnect(code = 1006, reason = ""): void {
    for (const socket of [...this.#sockets]) socket.closedByServer(code, reason);
    this.#sockets.clear();
  }

  /** Refuse new connections, or accept them again. Open connections stay; `disconnect` closes them. */
  setAway(isAway: boolean): void {
    this.#isAway = isAway;
  }

  // -- connections ----------------------------------------------------------------------------------------------------

  #connected(socket: FakeSocket): void {
    if (this.#isAway) {
      socket.closedByServer(1006, "");
      return;
    }
    this.#sockets.add(socket);
    socket.opened();
  }

  #handle(socket: FakeSocket, message: ClientMessage): void {
    this.received.push(message);
    const base = { server_time_ms: this.now(), ...(message.id === undefined ? {} : { reply_to: message.id }) };
    switch (message.type) {
      case "PING":
        socket.deliver({ type: "PONG", t0: message.t0, t1: this.now(), t2: this.now(), error_ms: 0, ...base });
        break;
      case "AUTH":
      case "REFRESH":
        socket.deliver({ type: "AUTHENTICATED", expires_in_ms: 3_600_000, ...base });
        break;
      case "SUBSCRIBE":
        this.#subscribe(socket, message);
        break;
      case "UNSUBSCRIBE":
        socket.sessions.delete(message.session_id);
        this.#sendPresence(message.session_id);
        break;
      case "COMMAND":
        socket.deliver(this.#answer(message));
    }
  }

  #subscribe(socket: FakeSocket, message: SubscribeMessage): void {
    const session = this.#sessions.get(message.session_id);
    const base = { session_id: message.session_id, server_time_ms: this.now() };
    if (!session) {
      const text = `There is no session ${message.session_id}`;
      socket.deliver({ type: "ERROR", code: "SESSION_NOT_FOUND", message: text, ...base });
      return;
    }
    socket.sessions.add(session.session_id);
    const { epoch, version } = session;
    if (message.epoch === epoch && message.version === version) {
      const resumed = { epoch, version, from_version: version, recovered: true, patch: {} };
      socket.deliver({ type: "STATE_DELTA", ...resumed, ...base });
    } else {
      const gap = message.version === undefined ? {} : { recovered: false };
      socket.deliver({ type: "STATE_SYNC", epoch, version, state: session, ...gap, ...base });
    }
    this.#sendPresence(session.session_id);
  }

  #sendPresence(sessionId: string): void {
    const watchers = this.#watchers(sessionId);
    const message = { session_id: sessionId, server_time_ms: this.now(), clients: watchers.length, participants: [] };
    for (const socket of watchers) socket.deliver({ type: "PRESENCE", roles: { viewer: watchers.length }, ...message });
  }

  #watchers(sessionId: string): FakeSocket[] {
    return [...this.#sockets].filter((each) => each.sessions.has(sessionId));
  }

  // -- commands -------------------------------------------------------------------------------------------------------

  #answer(message: CommandMessage): ServerMessage {
    const known = this.#answers.get(message.id);
    if (known) return known;
    const base = { session_id: message.session_id, server_time_ms: this.now(), reply_to: message.id };
    let answer: ServerMessage;
    try {
      const refusal = this.#refusals.shift();
      if (refusal) throw refusal;
      const session = this.#sessions.get(message.session_id);
      if (session) checkPreconditions(session, message);
      const after = this.command(message.session_id, message.command, message.args);
      answer = { type: "ACK", version: after.version, epoch: after.epoch, ...base };
    } catch (error) {
      if (error instanceof Error) throw error;
      answer = { type: "ERROR", ...(error as Refusal), ...base };
    }
    this.#answers.set(message.id, answer);
    return answer;
  }

  #decide(session: SessionView, name: string, args: Record<string, unknown>): SessionView | null {
    const atMs = this.now();
    const refused = { code: "INVALID_STATE_TRANSITION", message: `The session is ${session.status}` };
    if (name === "delete") return null;
    if (name === "update_metadata") {
      const metadata = mergePatch(session.metadata, args.metadata as Record<string, unknown>);
      return { ...session, version: session.version + 1, updated_at: instantText(atMs), metadata };
    }
    if (isFinal(session)) throw refused;
    if (name === "complete" || name === "cancel") return ended(session, name === "complete" ? "completed" : "cancelled", atMs);
    if (!isPredictable(name)) throw new TypeError(`the fake server does not support the command ${name}`);
    const after = predict(session, name, args, atMs);
    if (!after) throw refused;
    return after;
  }

  /** Store the next state and send it to all watchers. Null deletes the session. */
  #commit(before: SessionView, after: SessionView | null, event?: string): SessionView {
    const { session_id, epoch } = before;
    const version = after?.version ?? before.version + 1;
    const base = { session_id, epoch, version, server_time_ms: this.now() };
    const type = after ? event : "session_deleted";
    if (after) this.#sessions.set(session_id, after);
    else this.#sessions.delete(session_id);
    for (const socket of this.#watchers(session_id)) {
      const at = instantText(this.now());
      if (type) socket.deliver({ type: "EVENT", event_type: type as "session_deleted", at, ...base });
      if (after) socket.deliver({ type: "STATE_UPDATE", state: after, ...base });
    }
    return after ?? { ...before, version };
  }

  #expire(session: SessionView): void {
    const atMs = dueMs(session);
    if (atMs === null || atMs > this.now()) return;
    if (session.status === "paused") {
      const reason = session.pauses.find((each) => instantMs(each.lifts_at) === atMs)?.reason;
      const lasting = { ...session, pauses: session.pauses.map((each) => ({ ...each, lifts_at: null })) };
      const after = predict(lasting, "resume", reason === undefined ? {} : { reason }, atMs);
      if (after) this.#commit(session, after, "session_resumed");
      return;
    }
    const stopped = predict({ ...session, deadline_at: null }, "pause", { reason: "timeout" }, atMs);
    if (!stopped) return;
    if (session.on_timeout === "pause") this.#commit(session, stopped, "session_paused");
    else this.#commit(session, ended({ ...stopped, version: session.version }, "expired", atMs), "session_expired");
  }
}

/** Return the instant of the next change that time makes by itself, in ms since the Unix epoch. */
function dueMs(session: SessionView): number | null {
  if (session.status === "paused") {
    const ends = session.pauses.map((each) => instantMs(each.lifts_at)).filter((each) => each !== null);
    return ends.length ? Math.min(...ends) : null;
  }
  return session.status === "running" && session.on_timeout !== "overtime" ? instantMs(session.deadline_at) : null;
}

function checkPreconditions(session: SessionView, message: CommandMessage): void {
  const { expected_turn: turn, expected_version: version } = message;
  if (version !== undefined && version !== session.version) {
    const details = { expected_version: version, actual_version: session.version };
    throw { code: "CONFLICT", message: "The session has another version", details };
  }
  if (turn !== undefined && turn !== turnNumber(session)) {
    const details = { expected_turn: turn, turn_number: turnNumber(session) };
    throw { code: "TURN_OVER", message: "The turn is over", details };
  }
}

function ended(session: SessionView, status: "completed" | "cancelled" | "expired", atMs: number): SessionView {
  const stopped = session.status === "running" ? (predict(session, "pause", {}, atMs) ?? session) : session;
  const at = instantText(atMs);
  return {
    ...stopped,
    version: session.version + 1,
    status,
    pauses: [],
    participants: stopped.participants.map((each) => ({
      ...each,
      has_expired: each.has_expired || (status === "expired" && each.is_active && each.time_remaining_ms <= 0),
      is_active: false,
    })),
    active_participant_id: null,
    active_group_id: null,
    cycle_started_at: null,
    deadline_at: status === "expired" ? at : null,
    updated_at: at,
    session_completed_at: at,
  };
}
