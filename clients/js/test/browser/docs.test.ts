// The documentation site of the server.
import { expect, inject, test } from "vitest";
import { expectAccessible, useChromium } from "./chromium.js";
import { expectSmall, expectUsable, openServerPage } from "./server-page.js";

const open = useChromium();

const openDocs = (path: string, size = { width: 1280, height: 900 }) => openServerPage(open, `${inject("serverUrl")}/docs${path}`, size);

test("the search finds headings first, and works with the keyboard", async () => {
  const { page, refused, files } = await openDocs("");
  await expectSmall(files);
  const index = page.waitForResponse((each) => each.url().endsWith("/docs/search.json"));
  await page.getByRole("searchbox", { name: "Search" }).focus();
  await index;
  await page.keyboard.type("at zero");
  const first = page.locator("#result-list a").first();
  await page.locator("#found").filter({ hasText: /result/ }).waitFor();
  expect(await first.innerText()).toMatch(/zero/i);
  await expectAccessible(page, "#results");
  await page.keyboard.press("ArrowDown");
  expect(await page.evaluate(() => document.activeElement?.closest("#result-list") !== null)).toBe(true);
  const target = await first.getAttribute("href");
  await page.keyboard.press("Enter");
  await page.waitForURL(target as string);
  await page.getByRole("searchbox", { name: "Search" }).fill("xyzzy");
  await page.getByText("Nothing was found.").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#results").waitFor({ state: "hidden" });
  expect(refused).toEqual([]);
});

test("an example in several languages has tabs, and a button that copies it", async () => {
  const { page } = await openDocs("/guides/integrators");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.getByRole("tab", { name: "Python" }).press("ArrowRight");
  await page.getByRole("tabpanel", { name: "JavaScript" }).waitFor();
  expect(await page.getByRole("tabpanel").count()).toBe(1);
  await expectAccessible(page, ".tabs");
  await page.getByRole("tabpanel", { name: "JavaScript" }).getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(/^const { createHmac }/);
  await page.reload();
  await page.getByRole("tabpanel", { name: "JavaScript" }).waitFor();
});

test("on a phone, a link opens the navigation, and long tables scroll in their boxes", async () => {
  const { page } = await openDocs("/reference/status", { width: 320, height: 700 });
  await page.emulateMedia({ forcedColors: "active" });
  await page.getByRole("link", { name: "All pages" }).click();
  const here = page.locator("#navigation [aria-current=page]");
  await here.waitFor();
  expect(await here.innerText()).toBe("Status");
  await expectUsable(page, [320, 3840]);
  await page.setViewportSize({ width: 320, height: 700 });
  await page.getByRole("link", { name: "Close" }).click();
  await here.waitFor({ state: "hidden" });
});

test("an operation is tried out in the page, and opens in the playground with its command", async () => {
  const { page, refused } = await openDocs("/api");
  const operation = async (id: string) => {
    await page.locator(`[id="${id}"] > summary`).click();
    await page.locator(`[id="${id}"]`).getByText("Try it", { exact: true }).click();
    return page.locator(`[id="${id}"] form.try`);
  };
  const create = await operation("post_sessions");
  await create.getByLabel("Body as JSON").fill('{"preset": "quiz/20-seconds"}');
  await create.getByRole("button", { name: "Send" }).click();
  await create.getByText("Status 201").waitFor();
  const start = await operation("post_sessions_session_id_start");
  await expect.poll(() => start.getByLabel("session_id").inputValue()).toMatch(/^[0-9a-f-]{36}$/);
  await start.getByRole("button", { name: "Send" }).click();
  await start.getByText("Status 200").waitFor();
  const resume = await operation("post_sessions_session_id_resume");
  await resume.getByRole("button", { name: "Send" }).click();
  await resume.getByText("Status 400 INVALID_STATE_TRANSITION").waitFor();
  await expectAccessible(page, "[id=post_sessions_session_id_start]");
  await page.locator("[id=post_sessions_session_id_start]").getByRole("link", { name: "Send it in the playground" }).click();
  await page.getByRole("button", { name: "Make a session" }).click();
  await page.locator("html[data-state=live]").waitFor();
  expect(await page.getByRole("combobox", { name: "Command" }).inputValue()).toBe("start");
  expect(refused).toEqual([]);
});
