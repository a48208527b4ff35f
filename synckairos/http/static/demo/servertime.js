// The server's clock, estimated. Of many question-and-answer pairs the one with the shortest way counts: whatever the
// two directions took, the true offset lies within half its round trip. What it is worth fades as quartz drifts.

const DRIFT = 1e-4; // a hundred parts in a million, more than a phone's quartz is off
const KEEP = 32;

export class ServerTime {
  #samples = [];
  #monotonic;

  /** `monotonic` gives milliseconds that no one sets: the wall clock of this device never enters a reading. */
  constructor(monotonic = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  /** Learn from one answer: sent and received in this device's time, `serverMs` the server's in between. */
  learn(sentMs, serverMs, receivedMs) {
    const rttMs = receivedMs - sentMs;
    this.#samples.push({ atMs: receivedMs, rttMs, offsetMs: serverMs - (sentMs + receivedMs) / 2 });
    if (this.#samples.length > KEEP) this.#samples.shift();
  }

  /** Start over, as after a sleep in which the device's time stood still. */
  forget() {
    this.#samples = [];
  }

  get isKnown() {
    return this.#samples.length > 0;
  }

  /** The best sample: `offsetMs`, `rttMs`, and `errorMs` that bounds how far off it can be by now. */
  get best() {
    const now = this.#monotonic();
    const rated = this.#samples.map((each) => ({ ...each, errorMs: each.rttMs / 2 + (now - each.atMs) * DRIFT }));
    return rated.reduce((a, b) => (b.errorMs < a.errorMs ? b : a), { offsetMs: 0, rttMs: 0, errorMs: Infinity });
  }

  /** Milliseconds since 1970 by the server's clock; by this device's own until the first answer is in. */
  now() {
    return this.isKnown ? this.#monotonic() + this.best.offsetMs : Date.now();
  }
}

/** Ask `GET /v1/time` a few times at once and then every 15 s, and again whenever the device wakes up. */
export function keepInStep(time) {
  const clocksDifferBy = () => Date.now() - performance.now();
  let differed = clocksDifferBy();

  async function ask() {
    const sentMs = performance.now();
    const answer = await fetch("/v1/time", { cache: "no-store" });
    const receivedMs = performance.now();
    const { timestamp_ms: serverMs } = await answer.json();
    if (answer.ok) time.learn(sentMs, serverMs, receivedMs);
  }

  async function round(times) {
    if (Math.abs(clocksDifferBy() - differed) > 500) {
      differed = clocksDifferBy();
      time.forget();
    }
    try {
      for (let at = 0; at < times; at += 1) await ask();
    } catch {
      // Away for now. The estimate goes on from what is known; the next round asks again.
    }
  }

  setInterval(() => round(2), 15_000);
  addEventListener("online", () => round(5));
  document.addEventListener("visibilitychange", () => document.hidden || round(5));
  return round(6);
}
