// A client's copy of one session, updated by full states, merge patches and events. Pure.
import type {
  EventMessage,
  SessionView,
  StateDeltaMessage,
  StateSyncMessage,
  StateUpdateMessage,
} from "./generated/schemas.js";
import { documentFromKeyed, keyedDocument, mergePatch, type KeyedDocument } from "./merge-patch.js";

/** An event that no command caused, such as a warning or an expiry, or the deletion of the session. */
export interface SessionEvent {
  /** Name from docs/reference/events.md. */
  type: EventMessage["event_type"];
  version: number;
  epoch: string;
  /** Instant of the event in ms since the Unix epoch. */
  atMs: number;
  participantId?: string;
}

/** A newer state, and the events between the previous update and this state, oldest first. */
export interface Update {
  state: SessionView;
  events: readonly SessionEvent[];
  /** Whether the server no longer had all versions after the previous state, so that events can be missing. */
  hasGap: boolean;
}

/** What a client keeps over a page reload to resume a session. */
export interface SavedReplica {
  state: SessionView;
  tag?: string;
}

/** A patch that applies to another version than the version of the copy. The client must subscribe again. */
export const GAP = Symbol("gap");

/** The copy of one session. */
export class Replica {
  #state: SessionView | null = null;
  #tag: string | undefined;
  #events: SessionEvent[] = [];
  #lastEvent: { epoch: string; version: number } | null = null;

  constructor(saved?: SavedReplica | null) {
    if (saved) this.#set(saved.state, saved.tag);
  }

  /** The newest state, null before the first one. */
  get state(): SessionView | null {
    return this.#state;
  }

  /** Return what a later page needs to resume, null before the first state. */
  save(): SavedReplica | null {
    return this.#state && { state: this.#state, ...(this.#tag === undefined ? {} : { tag: this.#tag }) };
  }

  /** Return the members of a SUBSCRIBE that resumes at this copy. Empty before the first state. */
  resumeMembers(): { epoch?: string; version?: number; tag?: string } {
    if (!this.#state) return {};
    const { epoch, version } = this.#state;
    return { epoch, version, ...(this.#tag === undefined ? {} : { tag: this.#tag }) };
  }

  /** Replace the copy by a full state. */
  applyState(message: StateSyncMessage | StateUpdateMessage): Update {
    // The store has lost versions. The events of later versions are new events.
    if (this.#lastEvent && this.#lastEvent.version > message.state.version) this.#lastEvent = null;
    this.#set(message.state, message.tag);
    return this.#update(message.recovered === false);
  }

  /** Apply a patch. Null if the copy already has this version, GAP if the patch does not apply. */
  applyDelta(message: StateDeltaMessage): Update | null | typeof GAP {
    const { state } = this;
    if (!state || state.epoch !== message.epoch || state.version < message.from_version) return GAP;
    if (message.version <= state.version) return null;
    if (message.from_version !== state.version) return GAP;
    // The keyed form is made for each patch, because it would double the memory of a client that waits.
    const keyed = mergePatch(keyedDocument(state), message.patch) as KeyedDocument;
    this.#set(documentFromKeyed(keyed), message.tag);
    return this.#update(false);
  }

  /** Keep an event for the next update. Null if the event was received before, which happens after a resume. */
  keepEvent(message: EventMessage): SessionEvent | null {
    const { epoch, version } = message;
    if (this.#lastEvent?.epoch === epoch && version <= this.#lastEvent.version) return null;
    this.#lastEvent = { epoch, version };
    const event: SessionEvent = { type: message.event_type, version, epoch, atMs: Date.parse(message.at) };
    if (message.participant_id !== undefined) event.participantId = message.participant_id;
    this.#events.push(event);
    return event;
  }

  #set(state: SessionView, tag: string | undefined): void {
    this.#state = state;
    this.#tag = tag;
  }

  #update(hasGap: boolean): Update {
    const events = this.#events;
    this.#events = [];
    return { state: this.#state as SessionView, events, hasGap };
  }
}
