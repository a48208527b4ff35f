// A watched session as the client keeps it: one subscription for all its watches.
import { predictLoaded, type PredictedCommand } from "./clock/predict.js";
import { clockRuns, readClock, turnNumber, type RunningReading } from "./clock/readings.js";
import type { SyncKairosError } from "./errors.js";
import type {
  CommandArguments,
  PresenceMessage,
  ServerMessage,
  SessionView,
  SubscribeMessage,
} from "./generated/schemas.js";
import { Listeners } from "./listeners.js";
import { GAP, Replica, type SavedReplica, type SessionEvent, type Update } from "./replica.js";

/** The connected clients of a session: their number, their number by role, and the ids of the participants. */
export interface Presence {
  clients: number;
  roles: Record<string, number>;
  participants: readonly string[];
}

/** A command whose result is shown before the server has answered. */
interface Prediction {
  commandId: string;
  command: PredictedCommand;
  args: CommandArguments[PredictedCommand];
  atMs: number;
  lagMs: number;
  turn: number;
  /** Version of the command's result, from its ACK. */
  version?: number;
}

const MAX_EVENTS = 64;

/** One session with its newest state and the listeners of all its watches. */
export class WatchedSession {
  /** Number of watches. */
  users = 0;
  /** Whether a SUBSCRIBE was sent that has no answer yet. */
  isSubscribing = false;
  /** Whether the server has answered the first SUBSCRIBE. */
  isAnswered = false;
  /** The error that ended the watch. */
  error: SyncKairosError | null = null;
  presence: Presence | null = null;
  /** The last events, oldest first, at most 64. */
  events: readonly SessionEvent[] = [];
  /** Called after every change that a page can show. */
  readonly changes = new Listeners();
  readonly updates = new Listeners<Update>();

  readonly #replica: Replica;
  #predictions: Prediction[] = [];
  #shown: SessionView | null = null;

  constructor(
    readonly sessionId: string,
    private readonly participantId: string | undefined,
    saved: SavedReplica | null,
    /** Participant whose row the states have alone, undefined for all rows. */
    readonly only?: string,
  ) {
    this.#replica = new Replica(saved);
  }

  /** The newest state from the server, null before the first answer. */
  get state(): SessionView | null {
    return this.isAnswered ? this.#replica.state : null;
  }

  /** The newest state with the results of the commands that are not answered yet. */
  get shown(): SessionView | null {
    return this.#shown ?? this.state;
  }

  /** Return the reading of a clock at an instant of the server's time, see `readClock`. Null if it is not known. */
  reading(participantId: string | undefined, nowMs: number | null): RunningReading | null {
    const session = this.shown;
    if (!session || (nowMs === null && clockRuns(session))) return null;
    return readClock(session, participantId, nowMs ?? 0);
  }

  /** Return the message that subscribes and resumes at the newest state. */
  subscribeMessage(): SubscribeMessage {
    const identity = this.participantId === undefined ? {} : { participant_id: this.participantId };
    const row = this.only === undefined ? {} : { only: this.only };
    return { type: "SUBSCRIBE", session_id: this.sessionId, ...this.#replica.resumeMembers(), ...identity, ...row };
  }

  /** Return what a later page needs to resume. */
  save(): SavedReplica | null {
    return this.isAnswered && this.only === undefined ? this.#replica.save() : null;
  }

  /** Apply a message of the server. Return false if the client must subscribe again. */
  apply(message: ServerMessage): boolean {
    switch (message.type) {
      case "STATE_SYNC":
      case "STATE_UPDATE": {
        const before = this.#replica.state;
        const isLoss = before && (before.epoch !== message.epoch || before.version > message.version);
        // The store lost versions, perhaps also the results of answered commands.
        if (isLoss) this.#predictions = [];
        this.#updated(this.#replica.applyState(message));
        return true;
      }
      case "STATE_DELTA": {
        const update = this.#replica.applyDelta(message);
        if (update === GAP) return false;
        this.#updated(update);
        return true;
      }
      case "EVENT": {
        const event = this.#replica.keepEvent(message);
        if (event) this.events = [...this.events, event].slice(-MAX_EVENTS);
        return true;
      }
      case "PRESENCE":
        this.#setPresence(message);
        return true;
      default:
        return true;
    }
  }

  /** End the watch with an error. */
  fail(error: SyncKairosError): void {
    this.error = error;
    this.#predictions = [];
    this.#shown = null;
    this.changes.notify();
  }

  // -- predictions ----------------------------------------------------------------------------------------------------

  /**
   * Show the result of a command before the server has answered. Does nothing if the result cannot be predicted, as
   * without the rows of the other participants.
   */
  predict(prediction: Prediction): void {
    if (this.only !== undefined) return;
    this.#predictions.push(prediction);
    this.#applyPredictions();
    this.changes.notify();
  }

  /** Note the ACK of a command. A command that an expiry consumed, or that was refused, has no version. */
  answered(commandId: string, version: number | null): void {
    const found = this.#predictions.find((each) => each.commandId === commandId);
    if (!found) return;
    if (version === null) this.#predictions = this.#predictions.filter((each) => each !== found);
    else found.version = version;
    this.#applyPredictions();
    this.changes.notify();
  }

  #applyPredictions(): void {
    const state = this.state;
    if (!state) return;
    this.#predictions = this.#predictions.filter((each) => each.version === undefined || each.version > state.version);
    let shown: SessionView = state;
    for (const { command, args, atMs, lagMs, turn } of this.#predictions) {
      // A newer state can contain the result already. The turn number shows this for a switch, the status for others.
      if (command === "switch" && turnNumber(shown) !== turn) continue;
      shown = predictLoaded(shown, command, args, atMs, lagMs) ?? shown;
    }
    this.#shown = shown === state ? null : shown;
  }

  // -- messages -------------------------------------------------------------------------------------------------------

  #updated(update: Update | null): void {
    this.isSubscribing = false;
    const isFirst = !this.isAnswered;
    this.isAnswered = true;
    if (!update && !isFirst) return;
    this.#applyPredictions();
    if (update) this.updates.notify(update);
    this.changes.notify();
  }

  #setPresence({ clients, roles, participants }: PresenceMessage): void {
    this.presence = { clients, roles, participants };
    this.changes.notify();
  }
}
