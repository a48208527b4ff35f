// The clock of this device, and detection of times at which the device slept.
//
// Readings use the monotonic clock, so a step of the wall clock changes none. A monotonic clock can stand still while
// the device sleeps. The wall clock continues, so it is then further ahead than before.

/** Milliseconds by which the wall clock can gain on the monotonic clock between two checks without a sleep. */
const MAX_GAIN_MS = 250;

/** Two clocks of a device, and its timers. Tests give others. */
export interface DeviceClock {
  /** Return the monotonic clock in ms. Only differences have a meaning. */
  monotonicMs(): number;
  /** Return the wall clock in ms since the Unix epoch. It is used only to detect sleep. */
  wallMs(): number;
  /** Call a function once after a delay in ms, and return a function that cancels the call. */
  after(delayMs: number, call: () => void): () => void;
}

/** Maximum delay of a timer in ms. Browsers and Node call a timer with a longer delay at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The clocks and timers of this device. */
export const deviceClock: DeviceClock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, call) {
    const timer = setTimeout(call, Math.min(delayMs, MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** The monotonic clock of a device, which counts the sleeps of the device. */
export class LocalClock {
  #leadMs: number;
  #sleeps = 0;

  constructor(readonly device: DeviceClock = deviceClock) {
    this.#leadMs = device.wallMs() - device.monotonicMs();
  }

  /** Return the monotonic clock in ms. */
  nowMs(): number {
    return this.device.monotonicMs();
  }

  /**
   * Check whether the device slept after the last check, and return the number of all sleeps until now. A wall clock
   * that is set forward looks like a sleep. A wall clock that is set back does not.
   */
  countSleeps(): number {
    const leadMs = this.device.wallMs() - this.device.monotonicMs();
    if (leadMs > this.#leadMs + MAX_GAIN_MS) this.#sleeps += 1;
    this.#leadMs = leadMs;
    return this.#sleeps;
  }
}
