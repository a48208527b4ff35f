// One timer for all shown clocks of a client. It fires when the next text can change, not at a fixed rate.
import type { LocalClock } from "./local-clock.js";
import { callSafely, type Unsubscribe } from "./listeners.js";

/** A shown clock: returns its present text and the milliseconds after which the text can change. */
export type TextSource = () => { text: string; changesInMs: number };

interface Entry {
  source: TextSource;
  listener: (text: string) => void;
  text: string | null;
  dueMs: number;
}

/** Calls each listener when the text of its clock changes. */
export class TextScheduler {
  readonly #entries = new Set<Entry>();
  #cancel: (() => void) | null = null;

  constructor(private readonly clock: LocalClock) {}

  /** Show a clock. The listener is called with the present text before this method returns, and at each change. */
  add(source: TextSource, listener: (text: string) => void): Unsubscribe {
    const entry: Entry = { source, listener, text: null, dueMs: 0 };
    this.#entries.add(entry);
    this.#refresh(entry);
    this.#arm();
    return () => {
      this.#entries.delete(entry);
      this.#arm();
    };
  }

  /** Compare all texts now. Call this after a state, a prediction or the server's time has changed. */
  refreshAll(): void {
    for (const entry of [...this.#entries]) this.#refresh(entry);
    this.#arm();
  }

  #refresh(entry: Entry): void {
    if (!this.#entries.has(entry)) return;
    const { text, changesInMs } = entry.source();
    entry.dueMs = this.clock.nowMs() + changesInMs;
    if (text === entry.text) return;
    entry.text = text;
    callSafely(entry.listener, text);
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = null;
    const dueMs = Math.min(...[...this.#entries].map((each) => each.dueMs));
    if (dueMs === Infinity) return;
    this.#cancel = this.clock.device.after(Math.max(1, dueMs - this.clock.nowMs()), () => this.#fire());
  }

  #fire(): void {
    const nowMs = this.clock.nowMs();
    for (const entry of [...this.#entries]) if (entry.dueMs <= nowMs) this.#refresh(entry);
    this.#arm();
  }
}
