// Delays between attempts to connect: exponential back-off with full jitter.

const FIRST_MS = 250;
const LONGEST_MS = 10_000;

/** Random delays. Each delay is between 0 and a limit, which doubles with each failure up to 10 s. */
export class Backoff {
  #limitMs = FIRST_MS;

  constructor(private readonly random: () => number = Math.random) {}

  /** Return the milliseconds to wait after a failure, and double the limit of the next delay. */
  nextMs(): number {
    const delayMs = this.random() * this.#limitMs;
    this.#limitMs = Math.min(this.#limitMs * 2, LONGEST_MS);
    return delayMs;
  }

  /** Set the limit back to 250 ms. Call this after a success. */
  reset(): void {
    this.#limitMs = FIRST_MS;
  }
}
