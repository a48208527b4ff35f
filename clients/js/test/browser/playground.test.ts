// The page /playground of the server.
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { connectTo } from "../helpers.js";
import { expectAccessible, useChromium } from "./chromium.js";
import { WIDTHS, expectSmall, isPageFile, openServerPage } from "./server-page.js";

const open = useChromium();

const openPlayground = (base = inject("serverUrl")) => openServerPage(open, `${base}/playground`, { width: 1280, height: 720 });

const send = async (page: Page, command: string) => {
  await page.getByRole("combobox", { name: "Command" }).selectOption(command);
  await page.getByRole("button", { name: "Send" }).click();
};

test("a programmer plays with a session, at a width of 320 pixels up to 4K", async () => {
  const { page, refused, files } = await openPlayground();
  await page.getByLabel("Preset").selectOption("chess/lichess-blitz");
  await page.getByRole("button", { name: "Make a session" }).click();
  await page.locator("html[data-state=live]").waitFor();
  await send(page, "start");
  await page.getByText("Accepted. The session has version 2.").waitFor();
  await page.locator("#log li").filter({ hasText: "← received" }).filter({ hasText: '"type":"ACK"' }).waitFor();
  await page.locator("#log li").filter({ hasText: "→ sent" }).filter({ hasText: '"command":"start"' }).waitFor();
  await send(page, "resume");
  await page.getByText(/^Refused with INVALID_STATE_TRANSITION/).waitFor();
  await page.locator("#state").getByText('"status": "running"').waitFor();
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    await expectAccessible(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  }
  await expectSmall(files.filter(isPageFile));
  expect(refused).toEqual([]);
});

test("the page reads earlier states, drops its connection and delays its messages", async () => {
  const { page } = await openPlayground();
  await page.getByRole("button", { name: "Make a session" }).click();
  await page.locator("html[data-state=live]").waitFor();
  await send(page, "start");
  await page.getByText("Accepted. The session has version 2.").waitFor();
  await page.getByLabel("Instant").fill("0");
  await page.getByText(/^Version 1 at/).waitFor();
  await page.locator("#state").getByText('"status": "pending"').waitFor();
  await page.getByRole("button", { name: "Drop the connection" }).click();
  await page.locator("#log li").filter({ hasText: '"recovered":true' }).first().waitFor();
  await page.getByLabel("Delay in each direction").selectOption("200");
  await send(page, "announce");
  await page.getByText("Accepted. The session has version 3.").waitFor();
});

test("the code that the page shows does what the command does", async () => {
  const { page } = await openPlayground();
  await page.getByRole("button", { name: "Make a session" }).click();
  await page.locator("html[data-state=live]").waitFor();
  await page.getByRole("combobox", { name: "Command" }).selectOption("announce");
  const code = page.locator("#code");
  expect(await code.textContent()).toContain("/announce' \\\n  -H 'Content-Type: application/json' -d '{\"text\":\"Five minutes left\"");
  const [, method = "", url = "", body = ""] = /curl -X (\w+) '([^']+)'[^]*-d '([^']+)'/.exec((await code.textContent()) ?? "") ?? [];
  const answer = await fetch(url, { method, body, headers: { "Content-Type": "application/json" } });
  expect(answer.status).toBe(200);
  await page.locator("#state").getByText("Five minutes left").waitFor();
  await page.getByLabel("As code").selectOption("python");
  await page.getByLabel("Arguments as JSON").fill('{"text": null}');
  expect(await code.textContent()).toContain('await session.command("announce", {"text": None})');
  await page.getByLabel("As code").selectOption("js");
  expect(await code.textContent()).toContain('"announce", {"text":null}');
  const id = await page.locator("#id").textContent();
  await connectTo(inject("serverUrl")).command(id as string, "announce", { text: null });
  await page.locator("#state").filter({ hasNotText: "Five minutes left" }).waitFor();
});

test("without a credential the page says that none allows to create sessions", async () => {
  const { page } = await openPlayground(inject("authUrl"));
  await page.getByRole("button", { name: "Make a session" }).click();
  await page.getByText("Your credential does not allow to create sessions, or there is none.").waitFor();
  await expectAccessible(page);
});
