// Timers with names: a new timer replaces the timer of the same name.
import type { DeviceClock } from "./local-clock.js";

/** The timers of one owner. */
export class NamedTimers {
  readonly #cancels = new Map<string, () => void>();

  constructor(private readonly device: DeviceClock) {}

  /** Call a function once after a delay in ms. */
  after(name: string, delayMs: number, call: () => void): void {
    this.cancel(name);
    const cancel = this.device.after(delayMs, () => {
      this.#cancels.delete(name);
      call();
    });
    this.#cancels.set(name, cancel);
  }

  /** Return whether a timer runs. */
  has(name: string): boolean {
    return this.#cancels.has(name);
  }

  /** Cancel a timer. Does nothing if it does not run. */
  cancel(name: string): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }

  /** Cancel all timers. */
  cancelAll(): void {
    for (const name of [...this.#cancels.keys()]) this.cancel(name);
  }
}
