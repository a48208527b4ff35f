import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { expectAccessible, useChromium } from "./chromium.js";

const open = useChromium();
const server = () => inject("serverUrl");

const exam = () =>
  createSession({
    sync_mode: "individual",
    total_time_ms: 600_000,
    participants: [
      { participant_id: ADA, display_name: "Ada" },
      { participant_id: BOB, display_name: "Bob", time_factor: 1.25 },
    ],
  });

const board = (page: Page, name: string) => page.locator("sync-board li").filter({ hasText: name });
const enabled = (page: Page) =>
  page.locator("sync-controls button:visible").evaluateAll((all) =>
    all.filter((each) => !(each as HTMLButtonElement).disabled).map((each) => each.textContent),
  );
const visible = (page: Page) => page.locator("sync-controls button:visible").allTextContents();

test("the board has all clocks of an exam, and the controls command all or one", async () => {
  const { session_id } = await exam();
  const page = await open("elements", { server: server(), session: session_id, participant: "" });
  const words = (name: string) => board(page, name).locator("[part=words]");
  await words("Ada").getByText("not started", { exact: true }).waitFor();
  expect(await words("Bob").textContent()).toBe("not started, 1.25 × time");
  expect(await board(page, "Bob").locator("[part=time]").textContent()).toBe("12:30");
  expect(await visible(page)).toEqual(["Start", "Pause", "Resume", "Finish all"]);
  expect(await enabled(page)).toEqual(["Start"]);

  const { api } = connectTo(server());
  await api.sessions.start(session_id, { participant_ids: [ADA] });
  await board(page, "Ada").and(page.locator("[aria-current=true]")).waitFor();
  expect(await board(page, "Bob").getAttribute("aria-current")).toBe("false");
  // The clock without a participant counts the clocks.
  await page.locator("#stage [part=words]").getByText("1 not started, 1 running").waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  await board(page, "Bob").and(page.locator("[aria-current=true]")).waitFor();
  expect(await enabled(page)).toEqual(["Pause", "Finish all"]);
  await expectAccessible(page, "main");
  await page.getByRole("button", { name: "Pause" }).click();
  await words("Bob").getByText("paused, 1.25 × time").waitFor();
  await api.sessions.finish(session_id, { participant_ids: [BOB] });
  await words("Bob").getByText("finished, 1.25 × time").waitFor();
  expect(await board(page, "Bob").getAttribute("data-ended")).not.toBeNull();
  await page.getByRole("button", { name: "Finish all" }).click();
  await words("Ada").getByText("finished", { exact: true }).waitFor();
  await page.locator("#stage [part=words]").getByText("finished").waitFor();
  expect(await enabled(page)).toEqual([]);
});

test("a participant sees its own row alone, and finishes its own clock", async () => {
  const { session_id } = await exam();
  const page = await open("own-clock", { server: server(), session: session_id, participant: BOB });
  await page.locator("#own [part=words]").getByText("not started, 1.25 × time").waitFor();
  expect(await page.locator("sync-board li").count()).toBe(1);
  expect(await visible(page)).toEqual(["Start", "Pause", "Resume", "Finish"]);
  const { api } = connectTo(server());
  await api.sessions.start(session_id);
  await page.locator("#own [part=time]").filter({ hasText: /^12:2\d$/ }).waitFor();
  await page.getByRole("button", { name: "Finish" }).click();
  await page.locator("#own [part=words]").getByText("finished, 1.25 × time").waitFor();
  const { participants } = await api.sessions.get(session_id);
  expect(participants.map((each) => each.status)).toEqual(["running", "finished"]);
});

test("the sound and the milestones of a clock follow its own status", async () => {
  const { session_id } = await createSession({
    sync_mode: "individual",
    total_time_ms: 61_000,
    participants: [{ participant_id: ADA, display_name: "Ada" }, { participant_id: BOB, display_name: "Bob" }],
  });
  const page = await open("elements", { server: server(), session: session_id, participant: ADA });
  await page.locator("#own [part=words]").getByText("not started").waitFor();
  const { api } = connectTo(server());
  await api.sessions.start(session_id);
  await api.sessions.adjust(session_id, { delta_ms: -53_000, participant_ids: [ADA] });
  await page.locator("#own[data-low]").waitFor();
  const log = await page.evaluate(() => (window as unknown as { log: string[] }).log);
  // Ada has a row on the board and a clock of its own. The clock of Bob is not low.
  expect(log.filter((each) => each === "lowtime")).toHaveLength(2);
  expect(log.filter((each) => each === "milestone 10 seconds left")).toHaveLength(2);
});
