// Chromium for tests of pages. CHROMIUM names another program than the installed one.
import axe from "axe-core";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, onTestFinished } from "vitest";

const NAMES = [process.env.CHROMIUM ?? "", "chromium", "chromium-browser", "google-chrome"];

// These options stop all connections of the browser except those of the page.
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

function chromiumPath(): string {
  const folders = ["", ...(process.env.PATH ?? "").split(delimiter)];
  const found = NAMES.filter(Boolean).flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
  if (!found) throw new Error("tests of pages need Chromium: run apt-get install chromium, or set CHROMIUM");
  return found;
}

/**
 * Open a page with parameters in its URL. `name` is a page of test/browser/pages, or the URL of another page. `prepare` runs
 * before the page loads.
 */
export type OpenPage = (
  name: string,
  parameters: Record<string, string>,
  prepare?: (page: Page) => Promise<unknown>,
) => Promise<Page>;

/** Check a page with axe: the elements that `selector` selects, or the whole page. */
export async function expectAccessible(page: Page, selector = "html"): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate((each) => (window as unknown as { axe: typeof axe }).axe.run(each), selector);
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`)).toEqual([]);
}

/** Start one Chromium for the tests of a file. */
export function useChromium(): OpenPage {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: chromiumPath(), args: ARGS });
  });
  afterAll(() => browser?.close());
  return async (name, parameters, prepare) => {
    const context: BrowserContext = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const errors: unknown[] = [];
    page.on("pageerror", (error) => errors.push(error));
    onTestFinished(async () => {
      await context.close();
      expect(errors).toEqual([]);
    });
    await prepare?.(page);
    const url = new URL(name, `${inject("pagesUrl")}/`);
    for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
    await page.goto(url.href);
    return page;
  };
}
