// The offset between the server's clock and the monotonic clock of this device, with its maximum error. Reads no clock.
//
// The true offset differs from a sample by at most half of the round trip, also if the two directions have different
// delays (RFC 5905, sections 8 and 10). The error of a sample grows with its age, because clocks drift.

/** Milliseconds per millisecond by which two clocks can drift apart. */
const MAX_DRIFT = 1e-4;

const MAX_SAMPLES = 32;

/** One measurement: at `atMs` of the local clock, the server's clock was ahead by `offsetMs` ± `errorMs`. */
export interface Sample {
  atMs: number;
  offsetMs: number;
  errorMs: number;
  /** Round trip of the measurement in ms, without the time that the server used. */
  roundTripMs: number;
}

/**
 * Return the sample of one PING. The client sent the PING at `t0` and received the answer at `t3`, by its local clock.
 * The server received the PING at `t1` and answered at `t2`, by its own clock in whole ms. The server's own time has an
 * error of at most `serverErrorMs`; null if the server has not measured it yet.
 */
export function sampleOfPing(t0: number, t1: number, t2: number, t3: number, serverErrorMs: number | null): Sample {
  const roundTripMs = Math.max(0, t3 - t0 - (t2 - t1));
  // t1 and t2 are rounded down by up to 1 ms each, so the middle of the possible offsets is half a millisecond higher.
  const offsetMs = (t1 - t0 + (t2 - t3)) / 2 + 0.5;
  const errorMs = roundTripMs / 2 + 0.5 + (t3 - t0) * MAX_DRIFT + (serverErrorMs ?? Infinity);
  return { atMs: t3, offsetMs, errorMs, roundTripMs };
}

const errorAt = (sample: Sample, atMs: number): number => sample.errorMs + Math.abs(atMs - sample.atMs) * MAX_DRIFT;

/** The server's time, calculated from the sample with the smallest error. */
export class ServerClock {
  #samples: Sample[] = [];

  /** Whether there is at least one sample. */
  get isKnown(): boolean {
    return this.#samples.length > 0;
  }

  /** Add a sample. If it contradicts an earlier sample, a clock was set, and all earlier samples are removed. */
  add(sample: Sample): void {
    const contradicts = (old: Sample) =>
      Math.abs(sample.offsetMs - old.offsetMs) > sample.errorMs + errorAt(old, sample.atMs);
    if (this.#samples.some(contradicts)) this.#samples = [];
    this.#samples.push(sample);
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** Remove all samples. Call this after the local clock has stood still. */
  clear(): void {
    this.#samples = [];
  }

  /** Return the server's time at an instant of the local clock, in ms since the Unix epoch; null if it is unknown. */
  nowMs(atMs: number): number | null {
    const best = this.#best(atMs);
    return best && atMs + best.offsetMs;
  }

  /** Return the maximum error of `nowMs` in either direction, in ms. Infinity if the server's time is unknown. */
  errorMs(atMs: number): number {
    const best = this.#best(atMs);
    return best ? errorAt(best, atMs) : Infinity;
  }

  /** The shortest measured round trip in ms, 0 if there is none. */
  get roundTripMs(): number {
    return this.isKnown ? Math.min(...this.#samples.map((each) => each.roundTripMs)) : 0;
  }

  #best(atMs: number): Sample | null {
    return this.#samples.reduce<Sample | null>(
      (best, each) => (best && errorAt(best, atMs) <= errorAt(each, atMs) ? best : each),
      null,
    );
  }
}
