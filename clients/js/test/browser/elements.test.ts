import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { useChromium } from "./chromium.js";

const open = useChromium();
const server = () => inject("serverUrl");

const clockText = (page: Page, selector: string) => page.locator(`${selector} [part=time]`).first();

test("the board, a clock and the controls play a game", async () => {
  const { session_id } = await createSession();
  const page = await open("elements", { server: server(), session: session_id, participant: ADA });
  await page.getByText("Ada").waitFor();
  const own = page.locator("#own");
  const words = own.locator("[part=words]");
  await words.getByText("not started").waitFor();
  expect(await clockText(page, "#own").textContent()).toBe("10:00");
  expect(await clockText(page, "#own").getAttribute("role")).toBe("timer");
  expect(await clockText(page, "#own").getAttribute("aria-live")).toBe("off");
  expect(await clockText(page, "#own").getAttribute("aria-label")).toBe("Ada");
  expect(await page.getByRole("button", { name: "Press" }).isDisabled()).toBe(true);

  await page.getByRole("button", { name: "Start" }).click();
  await clockText(page, "#own").filter({ hasText: /^9:5\d$/ }).waitFor();
  expect(await page.locator("li[aria-current=true]").textContent()).toContain("Ada");
  await page.getByRole("button", { name: "Press" }).click();
  // The press shows at once, without the answer of the server.
  await page.locator("li[aria-current=true]", { hasText: "Bob" }).waitFor();
  const { api } = connectTo(server());
  await expect.poll(async () => (await api.sessions.get(session_id)).active_participant_id).toBe(BOB);
  expect(await page.getByRole("button", { name: "Press" }).isDisabled()).toBe(true);
  await page.getByRole("button", { name: "Pause" }).click();
  await words.getByText("paused").waitFor();
  await page.getByRole("button", { name: "Finish" }).click();
  await words.getByText("finished").waitFor();
});

test("low time has a mark, words and an event, and milestones are said", async () => {
  const participants = [{ participant_id: ADA, display_name: "Ada", total_time_ms: 11_000 }];
  const clock = { byoyomi: { periods: 3, period_ms: 2_000 } };
  const { session_id } = await createSession({ participants, clock });
  const { api } = connectTo(server());
  await api.sessions.adjust(session_id, { delta_ms: -700 });
  const page = await open("elements", { server: server(), session: session_id, participant: ADA });
  const words = page.locator("#own [part=words]");
  await words.getByText("3 periods in reserve").waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  await page.locator("#own .said").getByText("10 seconds left").waitFor();
  // Take the time down to the overtime periods.
  await api.sessions.adjust(session_id, { delta_ms: -9_000 });
  await words.getByText("time is up").waitFor();
  expect(await page.locator("#own").getAttribute("data-low")).not.toBeNull();
  const log = await page.evaluate(() => (window as unknown as { log: string[] }).log);
  expect(log).toContain("lowtime");
  expect(log).toContain("milestone 10 seconds left");
  for (const period of [1, 2, 3]) expect(log).toContain(`overtime, period ${period} of 3`);
});

test("low time plays a sound once, unless the page prevents it", async () => {
  const participants = [{ participant_id: ADA, display_name: "Ada", total_time_ms: 60_000 }];
  const { session_id } = await createSession({ participants });
  const { api } = connectTo(server());
  const tones = (page: Page) => page.evaluate(() => (window as unknown as { tones: number[] }).tones);
  const pages = await Promise.all(
    ["own", "prevented"].map(async (sound) => {
      const page = await open("elements", { server: server(), session: session_id, participant: ADA, sound }, (each) =>
        each.addInitScript(() => {
          const started: number[] = [];
          Object.assign(window, { tones: started });
          const { start } = OscillatorNode.prototype;
          OscillatorNode.prototype.start = function (when) {
            started.push(this.frequency.value);
            start.call(this, when);
          };
        }),
      );
      await page.locator("#own [part=words]").getByText("not started").waitFor();
      await page.locator("#own").click();
      return page;
    }),
  );
  await api.sessions.start(session_id);
  for (const delta_ms of [-53_000, 20_000, -20_000]) await api.sessions.adjust(session_id, { delta_ms });
  const [sounding, silent] = pages as [Page, Page];
  await expect.poll(() => tones(sounding)).toEqual([880, 660]);
  await silent.locator("#own[data-low]").waitFor();
  expect(await tones(silent)).toEqual([]);
  // A second time within 20 s has no second sound.
  await sounding.locator("#own [part=time]").filter({ hasText: /0:0[0-6]/ }).waitFor();
  expect(await tones(sounding)).toEqual([880, 660]);
});

test("an element of a session that does not exist says so", async () => {
  const page = await open("elements", { server: server(), session: crypto.randomUUID(), participant: "" });
  await page.locator("sync-controls [role=alert]").getByText("There is no session").waitFor();
  expect(await clockText(page, "#own").textContent()).toBe("-:--");
});
