// Hosts lead an auction, a meeting, a debate, an exam and a game of chess on the pages of the server, with phones and a wall, and
// correct hours. The pictures of the guides are made here: SYNCKAIROS_WRITE_IMAGES=1 npx vitest run test/browser/host-flows.test.ts
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import type { CreateSession } from "../../src/index.js";
import { connectTo } from "../helpers.js";
import { expectAccessible, useChromium } from "./chromium.js";
import { takePicture } from "./pictures.js";

const MINUTE_MS = 60_000;
const idOf = (at: number) => `0198c0de-0000-7000-8000-00000000000${at + 1}`;
const people = (...names: string[]) => names.map((name, at) => ({ participant_id: idOf(at), display_name: name }));

const open = useChromium();

/** Create a session, and return it with a function that opens one of its pages. */
async function begin(fields: CreateSession) {
  const server = inject("serverUrl");
  const { api } = connectTo(server);
  const { session_id: id } = await api.sessions.create(fields);
  const openPage = (name: string, width: number, height: number, query = "") =>
    open(`${server}/${name}/${id}${query}`, {}, (page) => page.setViewportSize({ width, height }));
  return { api, id, openPage, read: () => api.sessions.get(id) };
}

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const hasStatus = (page: Page, status: string) => page.locator(`html[data-status=${status}]`).waitFor();
const times = async (count: number, step: () => Promise<void>) => {
  for (let at = 0; at < count; at += 1) await step();
};

test("an auctioneer takes bids, late bids extend the auction up to the cap, and the highest bidder wins at zero", async () => {
  const { api, id, openPage, read } = await begin({
    sync_mode: "global",
    total_time_ms: 10 * MINUTE_MS,
    extend_on_switch_ms: 5 * MINUTE_MS,
    extend_window_ms: 5 * MINUTE_MS,
    max_extension_ms: 4 * MINUTE_MS,
    metadata: { title: "Lot 7" },
    participants: people("Seller", "Ada", "Ben"),
  });
  const host = await openPage("control", 1280, 1000);
  const wall = await openPage("view", 1280, 720);
  const leads = (name: string) => wall.locator("#name").getByText(name, { exact: true }).waitFor();
  const extensions = async () => (await read()).extensions?.count ?? 0;
  await press(host, "Start");
  await leads("Seller");
  await press(host, "Bid: Ben"); // Ten minutes are left, so this bid extends nothing.
  await leads("Ben");
  expect(await extensions()).toBe(0);
  await times(7, () => press(host, "−1 min"));
  await press(host, "Bid: Ada"); // Three minutes are left. The bid adds two.
  await leads("Ada");
  await expect.poll(extensions).toBe(1);
  await takePicture(host, "auction-host");
  await takePicture(wall, "auction-wall");
  await times(3, () => press(host, "−1 min"));
  await press(host, "Bid: Ben"); // Two minutes are left. The cap cuts the extension of three minutes.
  await leads("Ben");
  await expect.poll(extensions).toBe(2);
  expect((await read()).extensions?.added_ms).toBe(4 * MINUTE_MS);
  await press(host, "Bid: Ada"); // The cap is reached: the bid counts, and extends nothing.
  await leads("Ada");
  expect((await read()).extensions).toEqual({ count: 2, added_ms: 4 * MINUTE_MS });
  const { deadline_at: deadline } = await read();
  await api.sessions.adjust(id, { delta_ms: Date.now() + 1_000 - Date.parse(deadline as string) });
  await hasStatus(wall, "expired");
  await hasStatus(host, "expired");
  const events = await api.sessions.events(id);
  expect(events.data.at(-1)).toMatchObject({ event_type: "session_expired", participant_id: idOf(1) });
});

test("a meeting runs over, and everyone sees by how much and when the next items are expected", async () => {
  const { openPage, read } = await begin({
    sync_mode: "per_cycle",
    on_timeout: "overtime",
    metadata: { title: "Board meeting" },
    participants: people("Chair"),
    plan: [
      { item_id: "opening", title: "Opening", time_ms: 1_000 },
      { item_id: "budget", title: "Budget", time_ms: 20 * MINUTE_MS },
      { item_id: "close", title: "Close", time_ms: 5 * MINUTE_MS },
    ],
  });
  const chair = await openPage("control", 1280, 1000);
  const wall = await openPage("view", 1280, 720);
  const agenda = await openPage("agenda", 360, 640);
  await press(chair, "Start");
  await wall.getByText("overtime").first().waitFor();
  await agenda.getByText(/^0:\d\d late$/).waitFor();
  await takePicture(wall, "meeting-wall");
  await takePicture(agenda, "meeting-phone");
  await press(chair, "Next item");
  await wall.locator("#name").getByText("Budget").waitFor();
  await agenda.locator("li").first().getByText(/over/).waitFor();
  await press(chair, "+1 min");
  await wall.locator("sync-clock [part=time]").getByText(/^20:\d\d$/).waitFor();
  await press(chair, "Next item");
  await press(chair, "Next item");
  await hasStatus(chair, "completed");
  const { plan = [] } = await read();
  expect(plan.map(({ status }) => status)).toEqual(["done", "done", "done"]);
  expect(plan[0]?.time_used_ms).toBeGreaterThan(1_000);
});

test("a chair leads a debate with a bell at each sign, and a hold between the speeches", async () => {
  const speech = (at: number, title: string) => ({ item_id: `s${at}`, title, time_ms: 3_000, participant_id: idOf(at), warnings_ms: [2_000, 0, -1_000] });
  const { openPage, read } = await begin({
    sync_mode: "per_cycle",
    on_timeout: "overtime",
    between_turns: "hold",
    metadata: { title: "This house would abolish homework" },
    participants: people("Ada", "Ben"),
    plan: [
      { item_id: "preparation", title: "Preparation", time_ms: 15 * MINUTE_MS },
      speech(0, "Prime Minister"),
      { ...speech(1, "Leader of Opposition"), time_ms: 7 * MINUTE_MS, warnings_ms: [6 * MINUTE_MS, MINUTE_MS, 0, -15_000] },
    ],
  });
  const chair = await openPage("control", 1280, 1000);
  const wall = await openPage("view", 1280, 720);
  await chair.evaluate(() => {
    const page = window as unknown as { strokes: number };
    const make = AudioContext.prototype.createOscillator;
    page.strokes = 0;
    AudioContext.prototype.createOscillator = function () {
      page.strokes += 1;
      return make.call(this);
    };
  });
  const strokes = () => chair.evaluate(() => (window as unknown as { strokes: number }).strokes);
  await chair.getByLabel("Ring at warnings").check();
  await press(chair, "Start");
  await wall.locator("#name").getByText("Preparation").waitFor();
  await press(chair, "End item");
  await wall.locator("#name").getByText("Next: Prime Minister · Ada").waitFor();
  await press(chair, "Begin next item");
  await chair.getByText("0:01 over", { exact: true }).waitFor();
  expect(await strokes()).toBe(1 + 2 + 3);
  await takePicture(chair, "debate-host");
  await press(chair, "End item");
  await chair.getByText("0:01 over", { exact: true }).waitFor({ state: "detached" });
  await press(chair, "Begin next item");
  await wall.locator("#name").getByText("Leader of Opposition · Ben", { exact: true }).waitFor();
  await takePicture(wall, "debate-wall");
  await press(chair, "End item");
  await hasStatus(wall, "completed");
  const { plan = [] } = await read();
  expect(plan[1]?.time_used_ms).toBeGreaterThan(4_000);
});

test("an exam has three students with extra time and one that starts late, each with an end of its own", async () => {
  const { openPage, read } = await begin({
    sync_mode: "individual",
    metadata: { title: "Algebra" },
    participants: people("Ada", "Ben", "Chloé", "Dai", "Eli").map((each, at) => ({
      ...each,
      total_time_ms: 60 * MINUTE_MS,
      ...(at > 0 && at < 4 ? { time_factor: [1, 1.25, 1.5, 2][at] } : {}),
    })),
  });
  const invigilator = await openPage("control", 1280, 1000);
  const wall = await openPage("view", 1280, 720);
  const phone = await openPage("desk", 360, 640, `?participant=${idOf(4)}`);
  for (const name of ["Ada", "Ben", "Chloé", "Dai"]) await press(invigilator, `Start: ${name}`);
  await phone.getByRole("button", { name: "Not started" }).waitFor();
  await press(invigilator, "Start: Eli");
  await phone.getByRole("button", { name: "Hand in" }).waitFor();
  await takePicture(invigilator, "exam-host");
  await takePicture(phone, "exam-phone");
  for (const [width, height] of [[1280, 720], [720, 1280]] as const) {
    await wall.setViewportSize({ width, height });
    expect(await wall.evaluate(() => document.documentElement.scrollHeight - innerHeight)).toBeLessThanOrEqual(0);
  }
  const { participants } = await read();
  const minutes = participants.map(({ anchor_at: from, deadline_at: to }) => (Date.parse(to as string) - Date.parse(from as string)) / MINUTE_MS);
  expect(minutes).toEqual([60, 75, 90, 120, 60]);
  expect(Date.parse(participants[4]?.deadline_at as string)).toBeGreaterThan(Date.parse(participants[0]?.deadline_at as string));
  await press(phone, "Hand in");
  await phone.getByRole("button", { name: "Finished" }).waitFor();
  await press(invigilator, "Pause: Ada");
  await press(invigilator, "Resume: Ada");
  await press(invigilator, "Finish");
  await invigilator.getByRole("dialog").getByRole("button", { name: "Finish" }).click();
  await hasStatus(wall, "completed");
});

test("two players play chess on their phones, an arbiter helps, and a wall shows the clocks", async () => {
  const { api, id, openPage, read } = await begin({
    sync_mode: "per_participant",
    increment_ms: 5_000,
    metadata: { title: "Board 1" },
    participants: people("White", "Black").map((each) => ({ ...each, total_time_ms: 10 * MINUTE_MS })),
  });
  const white = await openPage("desk", 360, 640, `?participant=${idOf(0)}`);
  const black = await openPage("desk", 360, 640, `?participant=${idOf(1)}`);
  const arbiter = await openPage("control", 1280, 1000);
  const wall = await openPage("view", 1280, 720);
  const onTurn = (page: Page) => page.getByRole("button", { name: "Press" }).waitFor();
  await press(arbiter, "Start");
  await onTurn(white);
  await press(white, "Press");
  await onTurn(black);
  await takePicture(white, "chess-phone");
  await takePicture(wall, "chess-wall");
  await press(black, "Press");
  await onTurn(white);
  await press(white, "Press"); // An illegal move: it is taken back, and the opponent gets a minute.
  await onTurn(black);
  await press(arbiter, "Undo last turn");
  await onTurn(white);
  await press(arbiter, "Pause");
  await white.getByRole("button", { name: "Paused" }).waitFor();
  await press(arbiter, "+1 min: Black");
  await expect.poll(async () => (await api.sessions.events(id)).data.at(-1)?.event_type).toBe("time_adjusted");
  await press(arbiter, "Resume");
  await onTurn(white);
  const [{ time_remaining_ms: left = 0 } = {}] = (await read()).participants;
  await api.sessions.adjust(id, { delta_ms: 1_000 - (left ?? 0), participant_ids: [idOf(0)] });
  await hasStatus(wall, "expired");
  await white.getByRole("button", { name: "Time is up" }).waitFor();
  await arbiter.getByText("Time is up").first().waitFor();
});

test("a week of hours gets a correction, and the report has the new time", async () => {
  const server = inject("serverUrl");
  const { api } = connectTo(server);
  const worker = crypto.randomUUID();
  const record = async (day: number) => {
    const recorded = { started_at: `2026-01-${day}T08:00:00.250Z`, completed_at: `2026-01-${day}T16:00:00.250Z` };
    const participants = [{ participant_id: worker, display_name: "Ada" }];
    return api.sessions.create({ sync_mode: "count_up", metadata: { title: "Project Lindau" }, participants, recorded });
  };
  const days = await Promise.all([26, 27, 28, 29, 30].map(record)); // Monday to Friday
  const { session_id: friday } = days[4] as { session_id: string };
  const page = await open(`${server}/control/${friday}`, {}, (each) => each.setViewportSize({ width: 1280, height: 1000 }));
  await page.getByText("Edit the session").click();
  const at = (instant: string) =>
    page.evaluate((text) => {
      const local = new Date(text);
      return new Date(local.getTime() - local.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    }, instant);
  await page.getByLabel("Ended").fill(await at("2026-01-30T18:00:00Z"));
  await page.getByLabel("Replace the breaks").check();
  await press(page, "Add a break");
  await page.getByLabel("Break from").fill(await at("2026-01-30T12:00:00Z"));
  await page.getByLabel("to", { exact: true }).fill(await at("2026-01-30T13:00:00Z"));
  await page.getByLabel("Reason").fill("forgot to stop");
  await expectAccessible(page);
  await press(page, "Correct the times");
  await expect.poll(async () => (await api.sessions.get(friday)).version).toBe(2);
  const { breaks, session_started_at: from, session_completed_at: to } = await api.sessions.get(friday);
  expect([from, to]).toEqual(["2026-01-30T08:00:00.250Z", "2026-01-30T18:00:00.000Z"]);
  expect(breaks).toEqual([{ from: "2026-01-30T12:00:00.000Z", to: "2026-01-30T13:00:00.000Z" }]);
  const hours = async () => {
    const rows = await api.participants.time(worker, { from: "2026-01-26", to: "2026-01-30", bucket: "day" });
    return rows.map(({ time_used_ms: ms }) => ms);
  };
  const day = 8 * 60 * MINUTE_MS;
  await expect.poll(hours).toEqual([day, day, day, day, day + 60 * MINUTE_MS - 250]);
});
