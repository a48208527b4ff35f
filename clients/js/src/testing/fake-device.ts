// The clocks and timers of a device that a test moves by hand.
import type { DeviceClock } from "../index.js";

/** A device whose clocks stand still until a test moves them. */
export class FakeDevice implements DeviceClock {
  #monotonicMs = 1000;
  #wallMs = 1_769_860_800_000;
  #timers: { dueMs: number; call: () => void }[] = [];

  /** Return the monotonic clock in ms. */
  monotonicMs(): number {
    return this.#monotonicMs;
  }

  /** Return the wall clock in ms since the Unix epoch. */
  wallMs(): number {
    return this.#wallMs;
  }

  /** Call a function once when `advance` reaches the end of the delay, and return a function that cancels the call. */
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

  /** Milliseconds until the next timer is due, Infinity without a timer. */
  get nextTimerInMs(): number {
    return Math.min(...this.#timers.map((each) => each.dueMs)) - this.#monotonicMs;
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
