// The clocks and timers of a device that a test moves by hand.
import type { DeviceClock } from "../src/local-clock.js";

export class ManualDevice implements DeviceClock {
  #monotonicMs = 1000;
  #wallMs = 1_769_860_800_000;
  #timers: { dueMs: number; call: () => void }[] = [];

  monotonicMs = (): number => this.#monotonicMs;
  wallMs = (): number => this.#wallMs;

  after(delayMs: number, call: () => void): () => void {
    const timer = { dueMs: this.#monotonicMs + delayMs, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  /** Number of timers that run. */
  get timers(): number {
    return this.#timers.length;
  }

  /** Let time pass, and call the timers that are due, in order. */
  advance(ms: number): void {
    const endMs = this.#monotonicMs + ms;
    for (;;) {
      const next = this.#timers.sort((one, other) => one.dueMs - other.dueMs)[0];
      if (!next || next.dueMs > endMs) break;
      this.#timers.shift();
      this.#move(Math.max(0, next.dueMs - this.#monotonicMs));
      next.call();
    }
    this.#move(endMs - this.#monotonicMs);
  }

  /** Let the device sleep: the wall clock continues, the monotonic clock and the timers stand still. */
  sleep(ms: number): void {
    this.#wallMs += ms;
  }

  /** Set the wall clock by a number of ms. */
  setWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  #move(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }
}
