import { expect, test } from "vitest";
// @ts-expect-error The page has no types.
import { readOptions, writeOptions } from "../../../../synckairos/http/static/view/options.js";

const read = (query: string) => readOptions(new URLSearchParams(query)) as { options: object; faults: object[] };

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

test("the language is left to the texts of the page", () => {
  expect(read("lang=xx")).toEqual({ options: { hide: [] }, faults: [] });
});

test.each([
  ["face=clown", { name: "choice", option: "face", choices: ["chess", "go", "stage", "sport"] }],
  ["theme=", { name: "choice", option: "theme", choices: ["light", "dark"] }],
  ["bg=red", { name: "choice", option: "bg", choices: ["transparent"] }],
  ["freeze_overtime=yes", { name: "choice", option: "freeze_overtime", choices: ["1"] }],
  ["hide=title,clock", { name: "list", option: "hide", choices: ["title", "names", "words", "agenda"] }],
  [`message=${"x".repeat(121)}`, { name: "length", option: "message", n: 120 }],
  ["blink=1", { name: "unknown", option: "blink" }],
  ["constructor=1", { name: "unknown", option: "constructor" }],
])("the option %s has no effect and is a fault", (query, fault) => {
  const { options, faults } = read(query);
  expect(faults).toEqual([fault]);
  expect(options).toEqual({ hide: query.startsWith("hide") ? ["title"] : [] });
});
