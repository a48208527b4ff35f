// The watched sessions of a client, and their subscriptions on the present connection.
import type { Backoff } from "./backoff.js";
import { loadPrediction } from "./clock/predict.js";
import {
  isTemporaryCode,
  SessionDeleted,
  SessionNotFound,
  SubscriptionRefused,
  SyncKairosError,
} from "./errors.js";
import type { ClientMessage, ErrorMessage, ServerMessage } from "./generated/schemas.js";
import type { NamedTimers } from "./named-timers.js";
import { saveReplica, takeReplica } from "./resume-storage.js";
import { WatchedSession } from "./watched-session.js";

/** Milliseconds for which a subscription outlives its last watch, for a page that replaces one watch by another. */
const LINGER_MS = 250;

/** Milliseconds, in addition to the back-off, before a SUBSCRIBE is sent again after a temporary refusal. */
const RESUBSCRIBE_MS = 500;

/** What subscriptions need of their client. */
export interface SubscriptionEnvironment {
  serverUrl: string;
  participantId: string | undefined;
  timers: NamedTimers;
  backoff: Backoff;
  /** Send a message on the present connection. Return false if there is no connection. */
  send(message: ClientMessage): boolean;
  /** Called after every change of a watched session. */
  changed(): void;
}

/** The watched sessions by id. */
export class Subscriptions {
  readonly #sessions = new Map<string, WatchedSession>();

  constructor(private readonly environment: SubscriptionEnvironment) {}

  /** Return a watched session, undefined if no watch of it is open. */
  get(sessionId: string): WatchedSession | undefined {
    return this.#sessions.get(sessionId);
  }

  /** All watched sessions. */
  all(): WatchedSession[] {
    return [...this.#sessions.values()];
  }

  /** Return a watched session with one more user. Subscribe if it is new. `only` is the only row of its states. */
  acquire(sessionId: string, only?: string): WatchedSession {
    let session = this.#sessions.get(sessionId);
    if (session?.users === 0 && session.only !== only) session = this.#drop(session);
    if (!session) {
      void loadPrediction();
      const { serverUrl, participantId } = this.environment;
      // A stored state has other rows, so a watch of one row does not resume at it.
      const saved = only === undefined ? takeReplica(serverUrl, sessionId) : null;
      session = new WatchedSession(sessionId, participantId, saved, only);
      session.changes.add(() => this.environment.changed());
      this.#sessions.set(sessionId, session);
      this.#subscribe(session);
    } else if (session.only !== only) {
      throw new SyncKairosError("ONLY_DIFFERS", "Another watch has another value of only");
    }
    session.users += 1;
    return session;
  }

  /** Remove one user of a watched session. Unsubscribe a moment after the last one. */
  release(session: WatchedSession): void {
    session.users -= 1;
    const { sessionId } = session;
    this.environment.timers.after(`linger ${sessionId}`, LINGER_MS, () => {
      if (session.users === 0 && this.#sessions.get(sessionId) === session) this.#drop(session);
    });
  }

  /** Subscribe to all sessions on a new connection. */
  subscribeAll(): void {
    for (const session of this.#sessions.values()) this.#subscribe(session);
  }

  /** Apply a message about a session. Return whether it answered or continued a subscription. */
  received(message: ServerMessage & { session_id: string }): boolean {
    const session = this.#sessions.get(message.session_id);
    if (!session) return false;
    if (message.type === "UNSUBSCRIBED") {
      this.#end(session, new SubscriptionRefused(message.code, "No access to the session"));
      return false;
    }
    if (!session.apply(message) && !session.isSubscribing) this.#subscribe(session);
    if (message.type === "EVENT" && message.event_type === "session_deleted") {
      this.#end(session, new SessionDeleted(session.sessionId));
    }
    return message.type.startsWith("STATE_");
  }

  /** Handle the refusal of a SUBSCRIBE: subscribe again after a temporary refusal, else end the watch. */
  refused({ session_id: sessionId = "", reply_to: replyTo, code, message, details }: ErrorMessage): void {
    const session = this.#sessions.get(sessionId);
    if (!session || replyTo !== undefined) return;
    if (isTemporaryCode(code)) {
      const delayMs = RESUBSCRIBE_MS + this.environment.backoff.nextMs();
      this.environment.timers.after(`resubscribe ${sessionId}`, delayMs, () => {
        if (this.#sessions.get(sessionId) === session) this.#subscribe(session);
      });
    } else if (code === "SESSION_NOT_FOUND") {
      this.#end(session, session.state ? new SessionDeleted(sessionId) : new SessionNotFound(sessionId));
    } else {
      this.#end(session, new SubscriptionRefused(code, message, details));
    }
  }

  /** Store the positions of all sessions for the next page of this tab. */
  save(): void {
    for (const session of this.#sessions.values()) {
      saveReplica(this.environment.serverUrl, session.sessionId, session.save());
    }
  }

  /** End all watches with an error. */
  failAll(error: SyncKairosError): void {
    for (const session of this.all()) this.#end(session, error);
  }

  #drop({ sessionId }: WatchedSession): undefined {
    this.#sessions.delete(sessionId);
    this.environment.send({ type: "UNSUBSCRIBE", session_id: sessionId });
  }

  #subscribe(session: WatchedSession): void {
    session.isSubscribing = this.environment.send(session.subscribeMessage());
  }

  #end(session: WatchedSession, error: SyncKairosError): void {
    this.#sessions.delete(session.sessionId);
    session.fail(error);
  }
}
