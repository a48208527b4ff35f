// Pictures of the guides, made by tests. SYNCKAIROS_WRITE_IMAGES=1 writes them, otherwise their sizes are compared.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const IMAGES = fileURLToPath(new URL("../../../../docs/images/", import.meta.url));

/** Take a picture. Compare its size with that of the guide, or write the picture of the guide. */
export async function takePicture(page: Page, name: string): Promise<void> {
  await page.evaluate(() => scrollTo(0, 0));
  const taken = await page.screenshot({ animations: "disabled" });
  const path = `${IMAGES}${name}.png`;
  if (process.env.SYNCKAIROS_WRITE_IMAGES) writeFileSync(path, taken);
  // Width and height are the bytes 16 to 24 of a PNG file. The digits of the clocks differ in each run.
  expect(readFileSync(path).subarray(16, 24)).toEqual(taken.subarray(16, 24));
}
