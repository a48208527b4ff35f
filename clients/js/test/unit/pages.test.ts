import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
// @ts-expect-error The script has no types.
import { buildPages } from "../../scripts/build-pages.mjs";

test("the built files of the pages are fresh", async () => {
  for (const [path, built] of Object.entries((await buildPages()) as Record<string, string>)) {
    expect(readFileSync(path, "utf8") === built, `${path} is stale: npm run pages`).toBe(true);
  }
});
