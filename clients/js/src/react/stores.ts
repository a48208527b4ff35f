// What the hooks read: one store for each session and each clock of a client, with snapshots that are stable until they
// change.
import {
  readClock,
  readingText,
  UNKNOWN_TEXT,
  type ClockOptions,
  type Presence,
  type Session,
  type SyncKairosClient,
  type SyncKairosError,
  type Unsubscribe,
  type Watch,
} from "../index.js";

/** The sessions of a page that a server rendered, and the server's time of the rendering in ms since the Unix epoch. */
export interface InitialState {
  sessions: Record<string, Session>;
  now: number;
}

/** One session: a watch that lives as long as there are subscribers. */
export class SessionStore {
  #watch: Watch | null = null;
  #failure: SyncKairosError | null = null;
  #users = 0;

  constructor(
    private readonly client: SyncKairosClient,
    private readonly sessionId: string,
    private readonly only: string | undefined,
  ) {}

  get session(): Session | null {
    return this.#watch?.shown ?? null;
  }

  get presence(): Presence | null {
    return this.#watch?.presence ?? null;
  }

  get error(): SyncKairosError | null {
    return this.#watch?.error ?? this.#failure;
  }

  /** Return the present text of a clock, null without a state. */
  text(options: ClockOptions): string | null {
    return this.session && (this.#watch?.text(options) ?? null);
  }

  readonly subscribe = (listener: () => void): Unsubscribe => this.#use((watch) => watch.subscribe(listener));

  /** Call a listener whenever the text of a clock changes. */
  onText(options: ClockOptions, listener: (text: string) => void): Unsubscribe {
    return this.#use((watch) => watch.onChange(options, listener));
  }

  #use(add: (watch: Watch) => Unsubscribe): Unsubscribe {
    this.#users += 1;
    let remove = () => {};
    try {
      // A client that ended permanently, or that watches other rows of the session, makes no watch. The error is then the
      // snapshot.
      this.#watch ??= this.client.watch(this.sessionId, this.only === undefined ? {} : { only: this.only });
      this.#failure = null;
      remove = add(this.#watch);
    } catch (error) {
      this.#failure = error as SyncKairosError;
    }
    let isUsed = true;
    return () => {
      if (!isUsed) return;
      isUsed = false;
      this.#users -= 1;
      remove();
      if (this.#users > 0) return;
      this.#watch?.close();
      this.#watch = null;
    };
  }
}

/** The text of one clock. All components that show this clock show the same text. */
export class ClockStore {
  #text: string | null = null;
  readonly #listeners = new Set<() => void>();
  #stop: Unsubscribe | null = null;

  constructor(
    private readonly session: SessionStore,
    private readonly options: ClockOptions,
  ) {}

  /** The text now, null without a state. It changes only together with a call of the listeners. */
  get text(): string | null {
    return this.session.session && (this.#text ?? this.session.text(this.options));
  }

  readonly subscribe = (listener: () => void): Unsubscribe => {
    const entry = () => listener();
    this.#listeners.add(entry);
    this.#stop ??= this.session.onText(this.options, (text) => {
      this.#text = text;
      for (const each of [...this.#listeners]) each();
    });
    return () => {
      this.#listeners.delete(entry);
      if (this.#listeners.size) return;
      this.#stop?.();
      this.#stop = null;
      this.#text = null;
    };
  };
}

/** All stores of one client. */
export class Stores {
  readonly #sessions = new Map<string, SessionStore>();
  readonly #clocks = new Map<string, ClockStore>();

  constructor(private readonly client: SyncKairosClient) {}

  session(id: string, only?: string): SessionStore {
    return getOrMake(this.#sessions, `${id} ${only ?? ""}`, () => new SessionStore(this.client, id, only));
  }

  clock(id: string, options: ClockOptions, only?: string): ClockStore {
    const { participant = "", tenths = "", tenthsBelowMs = "" } = options;
    const key = [id, only ?? "", participant, tenths, tenthsBelowMs].join(" ");
    return getOrMake(this.#clocks, key, () => new ClockStore(this.session(id, only), options));
  }
}

function getOrMake<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}

const allStores = new WeakMap<SyncKairosClient, Stores>();

/** Return the stores of a client, the same for each call. */
export function storesOf(client: SyncKairosClient): Stores {
  const stores = allStores.get(client) ?? new Stores(client);
  allStores.set(client, stores);
  return stores;
}

/** Return the text of a clock as the server rendered it. `-:--` without the session. */
export function initialText(initial: InitialState | undefined, id: string, options: ClockOptions): string {
  const session = initial?.sessions[id];
  const { participant, ...format } = options;
  const reading = session && readClock(session, participant, initial.now);
  return session && reading ? readingText(session, reading, format) : UNKNOWN_TEXT;
}
