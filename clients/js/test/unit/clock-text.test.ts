import { expect, test } from "vitest";
import { readClock } from "../../src/clock/readings.js";
import { formatClock, nextTextChangeMs, readingText, type TextFormat } from "../../src/clock-text.js";
import type { SessionView } from "../../src/generated/schemas.js";
import { LocalClock } from "../../src/local-clock.js";
import { TextScheduler } from "../../src/text-scheduler.js";
import { FakeDevice } from "../../src/testing/index.js";
import { readVectors } from "../vectors.js";

test.each<[number, TextFormat, boolean, string]>([
  [300_000, {}, false, "5:00"],
  [299_999, {}, false, "4:59"],
  [10_000, {}, false, "0:10"],
  [9_999, {}, false, "0:09.9"],
  [9_999, { tenths: "never" }, false, "0:09"],
  [60_050, { tenths: "always" }, false, "1:00.0"],
  [19_900, { tenthsBelowMs: 20_000 }, false, "0:19.9"],
  [731, {}, true, "0:00.73"],
  [731, {}, false, "0:00.7"],
  [0, {}, true, "0:00.0"],
  [-1, {}, false, "-0:00.0"],
  [-65_000, {}, false, "-1:05"],
  [3_600_000, {}, false, "1:00:00"],
  [90_061_000, {}, false, "1d 01:01:01"],
])("%d ms with %o is %s %s", (ms, format, isStill, text) => {
  expect(formatClock(ms, format, isStill)).toBe(text);
});

interface Vector {
  name: string;
  now_ms: number;
  session: SessionView;
}

// The next change must not be missed: at each millisecond before it the text is the same.
const FORMATS: TextFormat[] = [{}, { tenths: "always" }, { tenths: "never" }, { tenthsBelowMs: 12_345 }];
test.each(readVectors<Vector[]>("readings.json"))("next change of the text: $name", ({ session, now_ms }) => {
  for (const id of [undefined, ...session.participants.map((each) => each.participant_id)]) {
    for (const format of FORMATS) {
      const textAt = (atMs: number) => {
        const reading = readClock(session, id, atMs);
        return reading && readingText(session, reading, format);
      };
      const reading = readClock(session, id, now_ms);
      if (!reading) throw new Error("every participant has a reading");
      const changesInMs = nextTextChangeMs(session, reading, format);
      const text = textAt(now_ms);
      let ms = 1;
      while (ms < Math.min(changesInMs, 1200) && textAt(now_ms + ms) === text) ms += 1;
      expect(textAt(now_ms + ms - 1), `${ms - 1} ms later`).toBe(text);
      expect(ms).toBeGreaterThanOrEqual(Math.min(changesInMs, 1200));
    }
  }
});

test("a listener is called only when the text changes, by one timer for all clocks", () => {
  const device = new FakeDevice();
  const scheduler = new TextScheduler(new LocalClock(device));
  const startMs = device.monotonicMs();
  const leftMs = () => 12_000 - (device.monotonicMs() - startMs);
  const texts: string[] = [];
  let reads = 0;
  const running = () => {
    reads += 1;
    const rest = leftMs() % (leftMs() < 10_000 ? 100 : 1000);
    return { text: formatClock(leftMs()), changesInMs: rest + 1 };
  };
  const remove = scheduler.add(running, (text) => texts.push(text));
  for (let still = 0; still < 50; still += 1) scheduler.add(() => ({ text: "5:00", changesInMs: Infinity }), () => {});
  expect(device.timers).toBe(1);
  device.advance(2_101);
  expect(texts).toEqual(["0:12", "0:11", "0:10", "0:09.9", "0:09.8"]);
  expect(reads).toBe(texts.length);
  remove();
  expect(device.timers).toBe(0);
});

test("a listener that throws stops no other listener", async () => {
  const thrown = new Promise<unknown>((resolve) => process.once("uncaughtException", resolve));
  const scheduler = new TextScheduler(new LocalClock(new FakeDevice()));
  const fault = new Error("a listener failed");
  const texts: string[] = [];
  let text = "0:01";
  scheduler.add(() => ({ text, changesInMs: Infinity }), (shown) => {
    if (shown === "0:00") throw fault;
  });
  scheduler.add(() => ({ text, changesInMs: Infinity }), (shown) => texts.push(shown));
  text = "0:00";
  scheduler.refreshAll();
  expect(texts).toEqual(["0:01", "0:00"]);
  expect(await thrown).toBe(fault);
});
