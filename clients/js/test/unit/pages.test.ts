import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
// @ts-expect-error The script has no types.
import { buildDemo, DEMO_FILE } from "../../scripts/build-pages.mjs";

test("the built file of the demo page is fresh", async () => {
  const built = (await buildDemo()) as string;
  expect(readFileSync(DEMO_FILE as string, "utf8") === built, "stale: npm run pages").toBe(true);
});
