import { readFileSync } from "node:fs";
import { expect, inject, test } from "vitest";
// @ts-expect-error The script has no types.
import { generateFiles } from "../../scripts/generate-types.mjs";

test("the generated types are those of the server", async () => {
  const files = (await generateFiles(inject("serverUrl"))) as Record<string, string>;
  for (const [name, text] of Object.entries(files)) {
    const committed = readFileSync(new URL(`../../src/generated/${name}`, import.meta.url), "utf8");
    expect(committed, `${name} is stale: run make js-types`).toBe(text);
  }
});
