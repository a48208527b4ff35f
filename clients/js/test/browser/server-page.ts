// Pages of the server in Chromium, and checks that all of them pass.
import { gzipSync } from "node:zlib";
import type { Page, Response } from "playwright-core";
import { expect } from "vitest";
import { expectAccessible, type OpenPage } from "./chromium.js";

const MAX_PAGE_BYTES = 60 * 1024;

/** Widths of screens in pixels, from a small phone to 4K. */
export const WIDTHS = [320, 1280, 3840];

export interface ServerPage {
  page: Page;
  /** Messages about what the Content-Security-Policy of the page refused. */
  refused: string[];
  /** The responses that the page got, in their order. */
  files: Response[];
}

/** Open a page of a server on a screen of `size` in pixels, with parameters in its URL. */
export async function openServerPage(
  open: OpenPage,
  url: string,
  size: { width: number; height: number },
  parameters: Record<string, string> = {},
): Promise<ServerPage> {
  const refused: string[] = [];
  const files: Response[] = [];
  const page = await open(url, parameters, async (each) => {
    await each.setViewportSize(size);
    each.on("console", (message) => message.text().includes("Security Policy") && refused.push(message.text()));
    each.on("response", (response) => files.push(response));
  });
  return { page, refused, files };
}

/** Check a page with axe, and that its content fits into the width of the screen: the present one, or each of `widths`. */
export async function expectUsable(page: Page, widths: number[] = []): Promise<void> {
  await expectAccessible(page);
  await expectFits(page);
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 });
    await expectFits(page);
  }
}

async function expectFits(page: Page): Promise<void> {
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
}

/** Return whether a response is a file of a page, and no answer of the REST API. */
export const isPageFile = (response: Response) => !response.url().includes("/v1/");

/** Check that the responses to a page have at most 60 KiB after gzip. */
export async function expectSmall(files: Response[]): Promise<void> {
  const sizes = files.filter((each) => each.ok()).map(async (each) => gzipSync(await each.body()).length);
  expect((await Promise.all(sizes)).reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(MAX_PAGE_BYTES);
}
