import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { expectAccessible, useChromium } from "./chromium.js";

const open = useChromium();
const server = () => inject("serverUrl");

const item = (page: Page, title: string) => page.locator("sync-agenda li").filter({ hasText: title });
const row = async (page: Page, title: string) =>
  Promise.all(["time", "detail", "start"].map((name) => item(page, title).locator(`[part=${name}]`).textContent()));

test("the agenda shows planned and expected starts, over and under, and the progress", async () => {
  const { session_id } = await createSession({
    sync_mode: "per_cycle",
    on_timeout: "overtime",
    participants: [{ participant_id: ADA, display_name: "Ada" }, { participant_id: BOB, display_name: "Bob" }],
    plan: [
      { item_id: "opening", title: "Opening <b>", time_ms: 300_000 },
      { item_id: "budget", title: "Budget", time_ms: 600_000, participant_id: ADA },
      { item_id: "end", time_ms: 100_000, participant_id: BOB },
    ],
  });
  const page = await open("agenda", { server: server(), session: session_id });
  const summary = page.locator("sync-agenda [part=offset]");
  await summary.getByText("not started").waitFor();
  expect(await row(page, "Opening <b>")).toEqual(["5:00", "", expect.stringMatching(/^expected \d\d?:\d\d/)]);
  expect(await row(page, "Budget")).toEqual(["10:00", "Ada", expect.stringMatching(/^expected /)]);
  await page.locator("sync-agenda [part=end]").getByText(/^expected end \d\d?:\d\d/).waitFor();

  const { api } = connectTo(server());
  await page.getByRole("button", { name: "Start" }).click();
  await summary.getByText("on time").waitFor();
  expect(await item(page, "Opening").getAttribute("aria-current")).toBe("step");
  expect(await row(page, "Opening")).toEqual([expect.stringMatching(/^0:0\d of 5:00$/), "now", expect.stringMatching(/^planned /)]);
  expect(await row(page, "Budget")).toEqual(["10:00", "Ada", expect.stringMatching(/^planned .* · expected /)]);
  await expectAccessible(page, "main");
  await page.getByRole("button", { name: "Next item" }).click();
  await item(page, "Budget").and(page.locator("[aria-current=step]")).waitFor();
  await summary.getByText(/^4:5\d early$/).waitFor();
  expect(await row(page, "Opening")).toEqual([expect.stringMatching(/ of 5:00, 4:5\d under$/), "done", expect.stringMatching(/^planned /)]);
  expect(await page.locator("sync-agenda .said").textContent()).toBe("Budget has begun");
  expect(await page.locator("sync-agenda progress").evaluate((each) => (each as HTMLProgressElement).value)).toBeCloseTo(0.3, 1);

  // The item runs over: the later items and the end move.
  await api.sessions.adjust(session_id, { delta_ms: -900_000 });
  await page.getByRole("button", { name: "Pause" }).click();
  await summary.getByText(/^paused, 0:\d\d early$|^paused, \d+:\d\d late$|^paused, \d+:\d\d early$/).waitFor();
  expect((await row(page, "Budget"))[1]).toBe("paused · Ada");
  await page.getByRole("button", { name: "Resume" }).click();
  await api.sessions.switch(session_id, { hold: true });
  await item(page, "end").and(page.locator("[data-status=next]")).waitFor();
  await page.getByRole("button", { name: "Begin item" }).click();
  await item(page, "end").and(page.locator("[data-status=running]")).waitFor();
  await api.sessions.complete(session_id);
  await summary.getByText("finished").waitFor();
  expect(await page.locator("sync-agenda [part=end]").textContent()).toBe("");
});

test("the agenda of a session without a plan says so", async () => {
  const { session_id } = await createSession();
  const page = await open("agenda", { server: server(), session: session_id });
  await page.getByText("This session has no agenda").waitFor();
  expect(await page.locator("sync-agenda progress").isVisible()).toBe(false);
});
