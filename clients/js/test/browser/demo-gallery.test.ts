// The page /demo/play of the server: a gallery of uses, each on two screens.
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { expectAccessible, useChromium } from "./chromium.js";
import { WIDTHS, expectSmall, expectUsable, isPageFile, openServerPage } from "./server-page.js";

const open = useChromium();

const openGallery = (parameters = {}, base = inject("serverUrl")) => openServerPage(open, `${base}/demo/play`, { width: 1280, height: 900 }, parameters);

const choose = async (page: Page, use: string) => {
  await page.getByRole("button", { name: new RegExp(`^${use}`) }).click();
  await page.getByRole("heading", { name: use, exact: true }).waitFor();
};

const screen = (page: Page, name: string) => page.getByRole("region", { name, exact: true });

const press = (page: Page, name: string, button: string) => screen(page, name).getByRole("button", { name: button, exact: true }).click();

test("each use plays on two screens that follow each other", async () => {
  const { page, refused, files } = await openGallery();
  await expectAccessible(page);
  await choose(page, "Chess");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await press(page, "White’s phone", "Press");
  await press(page, "Black’s phone", "Press");
  await screen(page, "White’s phone").getByRole("button", { name: "Press" }).waitFor();
  await expectSmall(files.filter(isPageFile));

  await choose(page, "Auction");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await press(page, "Phone of bidder 1", "Bid");
  await screen(page, "Phone of bidder 1").getByText("Bidder 1: highest bid").waitFor();
  await press(page, "Phone of bidder 2", "Bid");
  await screen(page, "Phone of bidder 1").getByText("Bidder 1", { exact: true }).waitFor();

  for (const [use, host, other] of [["Debate", "Chair", "Screen in the hall"], ["Meeting", "Chair", "Screen in the room"]] as const) {
    await choose(page, use);
    await press(page, host, "Start");
    await screen(page, other).locator("sync-agenda").getByText("now").first().waitFor();
  }
  await choose(page, "Exam");
  await press(page, "Supervisor", "Start");
  await press(page, "Phone of candidate 1", "Hand in");
  await screen(page, "Phone of candidate 1").getByRole("button", { name: "Finished" }).waitFor();
  await choose(page, "Hours");
  await press(page, "Worker", "Start");
  await press(page, "Worker", "Pause");
  await screen(page, "Worker").getByRole("button", { name: "Resume" }).waitFor();
  expect(refused).toEqual([]);
});

test("a use shows the JSON behind it and its messages, at a width of 320 pixels up to 4K", async () => {
  const { page } = await openGallery({ use: "quiz" });
  await press(page, "Host", "Start");
  await press(page, "Host", "End turn");
  await press(page, "Host", "Begin next turn");
  await page.getByText("The JSON behind it").click();
  await page.getByRole("region", { name: "Body of the request" }).getByText('"time_per_cycle_ms": 20000').waitFor();
  await page.getByRole("region", { name: "State of the session" }).getByText('"status": "running"').waitFor();
  await page.getByText("Under the hood").click();
  const log = (name: string) => page.getByRole("list", { name: `Messages of ${name}` });
  await log("Host").getByText(/^→ sent .*"command":"switch"/).waitFor();
  await log("Screen for the audience").getByText(/^← received /).first().waitFor();
  expect(await log("Screen for the audience").getByText('"command":"switch"').count()).toBe(0);
  await expectUsable(page, WIDTHS);
  const address = page.url();
  await page.reload();
  await screen(page, "Host").getByRole("button", { name: "Pause" }).waitFor();
  expect(page.url()).toBe(address);
});

test("without a credential the gallery says where to sign in", async () => {
  const { page } = await openGallery({ use: "exam" }, inject("authUrl"));
  await page.getByText("This server needs a credential.").waitFor();
  await expectAccessible(page);
});
