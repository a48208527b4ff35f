import { expect, test } from "vitest";
import { mergePatch } from "../../src/merge-patch.js";

test("the examples of RFC 7396 for objects", () => {
  const target = { a: "b", c: { d: "e", f: "g" }, list: [1, { x: null }] };
  expect(mergePatch(target, { a: "z", c: { f: null } })).toEqual({ a: "z", c: { d: "e" }, list: [1, { x: null }] });
  expect(mergePatch({ a: "text" }, { a: { b: "c", d: null } })).toEqual({ a: { b: "c" } });
  expect(mergePatch({ a: [1] }, { a: [2, null] })).toEqual({ a: [2, null] });
  expect(target).toEqual({ a: "b", c: { d: "e", f: "g" }, list: [1, { x: null }] });
});

test("names with a meaning in JavaScript are ordinary names", () => {
  const patch = JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"a": 1}}');
  const merged = mergePatch({}, patch);
  expect(JSON.stringify(merged)).toBe('{"__proto__":{"polluted":true},"constructor":{"a":1}}');
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});
