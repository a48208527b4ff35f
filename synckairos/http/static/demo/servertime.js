// Estimate of the server's clock. Each request to the server gives one sample of the offset between the server's clock
// and the clock of this device. The error of a sample is at most half of its round-trip time, for any division of this
// time between the two directions. So the sample with the shortest round trip is the best. The error of a sample grows
// with the age of the sample, because clocks drift.

const DRIFT = 1e-4; // Maximum drift, as a ratio: 100 parts per million. The clock of a phone drifts less.
const MAX_SAMPLES = 32;
const MAX_STEP_MS = 500; // Maximum milliseconds by which both clocks may differ between two checks without a sleep.

export class ServerTime {
  #samples = [];
  #monotonic;
  #wall;
  #differenceMs;
  #sleeps = 0;

  /**
   * `monotonic` returns the milliseconds of a clock that is never set, but can stop when the device sleeps. `wall`
   * returns the milliseconds of the device's wall clock. It is only used to detect a sleep, and never for readings.
   */
  constructor(monotonic = () => performance.now(), wall = () => Date.now()) {
    this.#monotonic = monotonic;
    this.#wall = wall;
    this.#differenceMs = wall() - monotonic();
  }

  /** The number of detected sleeps of the device. A new sleep removes all samples, because they are wrong after it. */
  get sleeps() {
    const differenceMs = this.#wall() - this.#monotonic();
    if (Math.abs(differenceMs - this.#differenceMs) > MAX_STEP_MS) {
      this.#sleeps += 1;
      this.#samples = [];
    }
    this.#differenceMs = differenceMs;
    return this.#sleeps;
  }

  /** Add a sample. `sentMs` and `receivedMs` are monotonic instants of this device, `serverMs` is the server's instant. */
  addSample(sentMs, serverMs, receivedMs) {
    const rttMs = receivedMs - sentMs;
    this.#samples.push({ atMs: receivedMs, rttMs, offsetMs: serverMs - (sentMs + receivedMs) / 2 });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  get isKnown() {
    this.sleeps;
    return this.#samples.length > 0;
  }

  /** The sample with the smallest error. `errorMs` is its maximum error at this moment; Infinity without a sample. */
  get best() {
    const now = this.#monotonic();
    const rated = this.#samples.map((each) => ({ ...each, errorMs: each.rttMs / 2 + (now - each.atMs) * DRIFT }));
    return rated.reduce((a, b) => (b.errorMs < a.errorMs ? b : a), { offsetMs: 0, rttMs: 0, errorMs: Infinity });
  }

  /** The server's time in milliseconds since 1970; null if there is no sample, such as after a sleep of the device. */
  now() {
    return this.isKnown ? this.#monotonic() + this.best.offsetMs : null;
  }
}

/** Request `GET /v1/time` six times now, then twice every 15 s, and five times when the device wakes or goes online. */
export function keepSynchronized(time) {
  let sleeps = time.sleeps;

  async function requestSample() {
    const sleepsBefore = time.sleeps;
    const sentMs = performance.now();
    const response = await fetch(new URL("../v1/time", import.meta.url), { cache: "no-store" });
    const receivedMs = performance.now();
    const { timestamp_ms: serverMs } = await response.json();
    if (response.ok && time.sleeps === sleepsBefore) time.addSample(sentMs, serverMs, receivedMs);
  }

  async function requestSamples(count) {
    try {
      for (let at = 0; at < count; at += 1) await requestSample();
    } catch {
      // The server cannot be reached now. The estimate stays in use, and the next round tries again.
    }
  }

  setInterval(() => requestSamples(2), 15_000);
  setInterval(() => {
    if (time.sleeps === sleeps) return;
    sleeps = time.sleeps;
    requestSamples(5);
  }, 500);
  addEventListener("online", () => requestSamples(5));
  document.addEventListener("visibilitychange", () => document.hidden || requestSamples(5));
  return requestSamples(6);
}
