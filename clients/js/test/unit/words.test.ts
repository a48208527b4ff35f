import { expect, test } from "vitest";
import { lowTimeMs, milestoneWords } from "../../src/elements/words.js";

test.each([
  [5, 2],
  [30, 6],
  [60, 10],
  [180, 22.5],
  [3600, 60],
])("a clock of %d s is low below %d s", (initialS, lowS) => {
  expect(lowTimeMs(initialS * 1000)).toBe(lowS * 1000);
});

test.each([
  [60_001, 60_000, "1 minute left"],
  [60_000, 59_900, ""],
  [300_100, 299_900, "5 minutes left"],
  [70_000, 9_000, "10 seconds left"],
  [100, 0, "time is up"],
  [-100, -200, ""],
])("from %d to %d ms a clock says %j", (beforeMs, nowMs, words) => {
  expect(milestoneWords(beforeMs, nowMs)).toBe(words);
});
