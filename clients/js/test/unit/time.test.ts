import { expect, test } from "vitest";
import { Backoff } from "../../src/backoff.js";
import { LocalClock } from "../../src/local-clock.js";
import { sampleOfPing, ServerClock } from "../../src/server-clock.js";
import { FakeDevice } from "../../src/testing/index.js";

test.each([
  ["symmetric delays", 40, 40],
  ["a slow way to the server", 90, 3],
  ["a slow way back", 0, 200],
])("the error bound of a sample holds with %s", (_, outMs, backMs) => {
  const trueOffsetMs = 1_769_860_800_000.4;
  const t0 = 1000;
  const t1 = Math.floor(t0 + outMs + trueOffsetMs);
  const t2 = Math.floor(t0 + outMs + 2.7 + trueOffsetMs);
  const sample = sampleOfPing(t0, t1, t2, t0 + outMs + 2.7 + backMs, 0.5);
  expect(Math.abs(sample.offsetMs - trueOffsetMs)).toBeLessThanOrEqual(sample.errorMs);
});

test("the best sample is the one with the smallest error at this age", () => {
  const clock = new ServerClock();
  expect([clock.nowMs(0), clock.errorMs(0)]).toEqual([null, Infinity]);
  clock.add({ atMs: 0, offsetMs: 100, errorMs: 5, roundTripMs: 10 });
  clock.add({ atMs: 0, offsetMs: 103, errorMs: 20, roundTripMs: 40 });
  expect(clock.nowMs(10)).toBe(110);
  clock.add({ atMs: 1_000_000, offsetMs: 102, errorMs: 30, roundTripMs: 60 });
  expect(clock.nowMs(1_000_000)).toBe(1_000_102);
});

test("a sample that contradicts the others replaces them", () => {
  const clock = new ServerClock();
  clock.add({ atMs: 0, offsetMs: 100, errorMs: 5, roundTripMs: 10 });
  clock.add({ atMs: 10, offsetMs: 5000, errorMs: 50, roundTripMs: 100 });
  expect(clock.nowMs(10)).toBe(5010);
});

test("a wall clock that gains on the monotonic clock is a sleep, a wall clock that is set back is none", () => {
  const device = new FakeDevice();
  const clock = new LocalClock(device);
  device.advance(60_000);
  expect(clock.countSleeps()).toBe(0);
  device.setWall(-3_600_000);
  expect(clock.countSleeps()).toBe(0);
  device.sleep(1_000);
  expect(clock.countSleeps()).toBe(1);
  expect(clock.countSleeps()).toBe(1);
});

test("the limit of the back-off doubles up to ten seconds, and begins anew after a success", () => {
  const backoff = new Backoff(() => 1);
  const delays = Array.from({ length: 8 }, () => backoff.nextMs());
  expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  backoff.reset();
  expect(backoff.nextMs()).toBe(250);
});
