// The rest days of a session, on which its clock stands still. Pure.
import type { RestView } from "../generated/schemas.js";

const DAY_MS = 86_400_000;

/**
 * Return the instant at which a clock that runs from `atMs` on has run for `leftMs`, without the rest days of `rest` in
 * between. `rest` is undefined for a session without rest days. Instants are in ms since the Unix epoch, after 1970.
 */
export function endOfRunningTimeMs(rest: RestView | undefined, atMs: number, leftMs: number): number {
  while (rest && leftMs > 0) {
    const localMs = atMs + (rest.utc_offset_minutes ?? 0) * 60_000;
    const dayMs = DAY_MS - (localMs % DAY_MS);
    // Sunday is 0 in JavaScript and 7 in a rest rule.
    if (!rest.weekdays?.includes(new Date(localMs).getUTCDay() || 7)) {
      if (leftMs <= dayMs) break;
      leftMs -= dayMs;
    }
    atMs += dayMs;
  }
  return atMs + leftMs;
}
