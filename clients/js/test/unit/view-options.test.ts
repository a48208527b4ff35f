import { expect, test } from "vitest";
// @ts-expect-error The page has no types.
import { readOptions, writeOptions } from "../../../../synckairos/http/static/view/options.js";

const read = (query: string) => readOptions(new URLSearchParams(query)) as { options: object; faults: string[] };

test("the options of a link are read as they were written", () => {
  const options = { face: "sport", theme: "dark", message: "Ends at 10 & not later", freeze_overtime: "1", bg: "transparent", hide: ["title", "names"] };
  const query = writeOptions(options) as string;
  expect(query).toContain("hide=title,names");
  expect(read(query)).toEqual({ options, faults: [] });
});

test("a link without options has no query", () => {
  expect(writeOptions({ face: "", message: "", hide: [] })).toBe("");
  expect(read("")).toEqual({ options: { hide: [] }, faults: [] });
});

test.each([
  ["face=clown", "face must be chess or go or stage or sport"],
  ["theme=", "theme must be light or dark"],
  ["bg=red", "bg must be transparent"],
  ["freeze_overtime=yes", "freeze_overtime must be 1"],
  ["hide=title,clock", "hide must be a list of title or names or words or agenda, with commas"],
  [`message=${"x".repeat(121)}`, "message must have at most 120 characters"],
  ["blink=1", "there is no option blink"],
  ["constructor=1", "there is no option constructor"],
])("the option %s has no effect and is a fault", (query, fault) => {
  const { options, faults } = read(query);
  expect(faults).toEqual([fault]);
  expect(options).toEqual({ hide: query.startsWith("hide") ? ["title"] : [] });
});
