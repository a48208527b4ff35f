// A watch: the interface to one session for one user of the client.
import type { RunningReading } from "./clock/readings.js";
import { nextTextChangeMs, readingText, UNKNOWN_TEXT, type TextFormat } from "./clock-text.js";
import type { SyncKairosError } from "./errors.js";
import type { CommandArguments, SessionView } from "./generated/schemas.js";
import { callSafely, type Unsubscribe } from "./listeners.js";
import type { Ack } from "./pending-commands.js";
import type { SessionEvent, Update } from "./replica.js";
import type { TextScheduler } from "./text-scheduler.js";
import type { Presence, WatchedSession } from "./watched-session.js";

/** Options of a watch. */
export interface WatchOptions {
  /** Participant whose row the states have alone. Default: all rows that the client is allowed to see. */
  only?: string;
}

/** Options of a command. */
export interface CommandOptions {
  /** Id of the command, for a repetition after an unknown outcome. Default: a new random id. */
  id?: string;
  /** Version that the session must have, else the command is refused with CONFLICT. */
  expectedVersion?: number;
  /**
   * Turn number that the session must have, else the command is refused with TURN_OVER. A `switch` of a watched session
   * names the turn that is shown, unless this is null.
   */
  expectedTurn?: number | null;
  /** Participant for whom a controller sends the command. */
  onBehalfOf?: string;
  /** Whether a watch shows the result before the server has answered. Default: true. */
  optimistic?: boolean;
  /** Stops the wait for the answer. The outcome of the command is then unknown. */
  signal?: AbortSignal;
}

/** Name of a command. */
export type CommandName = keyof CommandArguments;

/** Which clock is shown, and how. */
export interface ClockOptions extends TextFormat {
  /** Participant whose own clock is shown. Default: the clock that runs or would run next. */
  participant?: string;
}

/** What a watch uses of its client. */
export interface WatchOwner {
  now(): number | null;
  command<Name extends CommandName>(
    sessionId: string,
    name: Name,
    args?: CommandArguments[Name],
    options?: CommandOptions,
  ): Promise<Ack>;
  readonly scheduler: TextScheduler;
  release(session: WatchedSession): void;
}

/** One user's view of a watched session. All watches of a session share one subscription. */
export class Watch {
  readonly #session: WatchedSession;
  readonly #owner: WatchOwner;
  readonly #removals = new Set<Unsubscribe>();
  #isClosed = false;

  /** @internal */
  constructor(session: WatchedSession, owner: WatchOwner) {
    this.#session = session;
    this.#owner = owner;
  }

  get sessionId(): string {
    return this.#session.sessionId;
  }

  /** The newest state that the server sent, null before the first one. */
  get state(): SessionView | null {
    return this.#session.state;
  }

  /** The newest state with the expected results of commands that are not answered yet. Pages show this one. */
  get shown(): SessionView | null {
    return this.#session.shown;
  }

  /** The last events that no command caused, oldest first, at most 64. */
  get events(): readonly SessionEvent[] {
    return this.#session.events;
  }

  /** The connected clients, null before the first message about them. */
  get presence(): Presence | null {
    return this.#session.presence;
  }

  /** The error that ended the watch, null while it continues. */
  get error(): SyncKairosError | null {
    return this.#session.error;
  }

  /**
   * Return the present reading of one clock: with an id the own clock of this participant, without one the clock that
   * runs or would run after a start. Null before the first state, without such a participant, and while a clock runs but
   * the server's time is not measured.
   */
  reading(participantId?: string): RunningReading | null {
    return this.#session.reading(participantId, this.#owner.now());
  }

  /** Return the present text of one clock, such as `4:59` or `0:09.8`. `-:--` if its reading is not known. */
  text({ participant, ...format }: ClockOptions = {}): string {
    const session = this.shown;
    const reading = this.reading(participant);
    return session && reading ? readingText(session, reading, format) : UNKNOWN_TEXT;
  }

  /** Resolve with the first state. Rejects with the error that ended the watch. */
  ready(): Promise<SessionView> {
    return this.#when((state) => state);
  }

  /** Resolve with the first state of at least this version, for example the version of an Ack. */
  reach(version: number): Promise<SessionView> {
    return this.#when((state) => (state.version >= version ? state : null));
  }

  /** Call a listener after each change of the state, the shown state, the presence or the error. */
  subscribe(listener: () => void): Unsubscribe {
    return this.#kept(this.#session.changes.add(listener));
  }

  /** Call a listener with each newer state and the events before it. `hasGap` tells that events can be missing. */
  onUpdate(listener: (update: Update) => void): Unsubscribe {
    return this.#kept(this.#session.updates.add(listener));
  }

  /** Call a listener with each event that no command caused, such as a warning or an expiry. */
  onEvent(listener: (event: SessionEvent) => void): Unsubscribe {
    return this.onUpdate(({ events }) => {
      for (const event of events) callSafely(listener, event);
    });
  }

  /** Call a listener with the text of a clock, now and whenever the text changes. */
  onChange(options: ClockOptions, listener: (text: string) => void): Unsubscribe {
    const { participant, ...format } = options;
    const source = () => {
      const session = this.shown;
      const reading = this.reading(participant);
      const changesInMs = session && reading ? nextTextChangeMs(session, reading, format) : Infinity;
      return { text: this.text(options), changesInMs };
    };
    return this.#kept(this.#owner.scheduler.add(source, listener));
  }

  /** Send a command to the session. It takes effect once; see `SyncKairosClient.command`. */
  command<Name extends CommandName>(name: Name, args?: CommandArguments[Name], options?: CommandOptions): Promise<Ack> {
    return this.#owner.command(this.sessionId, name, args, options);
  }

  /** End the watch and remove its listeners. The subscription ends with the last watch of the session. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const remove of [...this.#removals]) remove();
    this.#owner.release(this.#session);
  }

  #kept(remove: Unsubscribe): Unsubscribe {
    const removal = () => {
      this.#removals.delete(removal);
      remove();
    };
    this.#removals.add(removal);
    return removal;
  }

  #when<Result>(pick: (state: SessionView) => Result | null): Promise<Result> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const result = this.state && pick(this.state);
        if (result !== null) resolve(result);
        else if (this.error) reject(this.error);
        else return;
        remove();
      };
      const remove = this.subscribe(check);
      check();
    });
  }
}
