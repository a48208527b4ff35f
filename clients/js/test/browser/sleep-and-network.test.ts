import type { Page } from "playwright-core";
import { describe, expect, inject, test } from "vitest";
import type { SyncKairosClient, Watch } from "../../src/index.js";
import { ADA, BOB, connectTo, createSession, proxyTo } from "../helpers.js";
import { signToken } from "../tokens.js";
import { useChromium } from "./chromium.js";

interface Recorded {
  client: SyncKairosClient;
  watch: Watch;
  texts: string[];
  states: string[];
  frames: string[];
}

const open = useChromium();
const server = () => inject("serverUrl");
const recorded = <Name extends "texts" | "states" | "frames">(page: Page, name: Name) =>
  page.evaluate((key) => (window as unknown as Recorded)[key], name);
const shows = (page: Page, id: string, text: string | RegExp) => page.locator(`#${id}`).filter({ hasText: text }).waitFor();

/** Start a session and open a page that watches it through a proxy. `prepare` runs before the page loads. */
async function watching(prepare?: (page: Page) => Promise<unknown>, delayMs = 0) {
  const { session_id } = await createSession();
  const client = connectTo(server());
  await client.api.sessions.start(session_id);
  const proxy = await proxyTo(server(), delayMs);
  const page = await open("watching", { server: proxy.url, session: session_id, participant: ADA }, prepare);
  await shows(page, "text", /^(10:00|9:5\d)$/);
  return { session_id, client, proxy, page };
}

/** Hide or show a page. Chromium without a screen never hides pages by itself. */
const setHidden = (page: Page, isHidden: boolean) =>
  page.evaluate((hidden) => {
    Object.defineProperty(document, "visibilityState", { value: hidden ? "hidden" : "visible", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);

/** Give a page a wall clock that a test can step, and that is wrong by `offsetMs`. */
const withWallClock = (offsetMs: number) => (page: Page) =>
  page.addInitScript((offset) => {
    const real = Date.now;
    const wall = { stepMs: offset };
    Object.assign(window, { wall });
    Date.now = () => real() + wall.stepMs;
  }, offsetMs);

const stepWallClock = (page: Page, byMs: number) =>
  page.evaluate((ms) => {
    (window as unknown as { wall: { stepMs: number } }).wall.stepMs += ms;
  }, byMs);

/** Return a reading of a page, and the server's time as the page knows it before and after the reading. */
const readingOf = (page: Page) =>
  page.evaluate(() => {
    const { client, watch } = window as unknown as Recorded;
    const now = client.now() ?? NaN;
    const leftMs = watch.reading()?.time_remaining_ms ?? NaN;
    return { errorMs: client.errorMs, now, leftMs, later: client.now() ?? NaN };
  });

/**
 * Stop all scripts, timers and messages of a page, as a browser does with a page of a device that sleeps. Chromium without
 * a screen does not freeze pages, because they are never hidden. Returns a function that lets the page continue.
 */
async function freeze(page: Page): Promise<() => Promise<unknown>> {
  const devtools = await page.context().newCDPSession(page);
  const paused = new Promise((resolve) => devtools.once("Debugger.paused", resolve));
  await devtools.send("Debugger.enable");
  await devtools.send("Debugger.pause");
  // The page stops with its next script, at the latest with the check for sleep once a second.
  await paused;
  return () => devtools.send("Debugger.resume");
}

describe("sleep and wake", () => {
  test("after a sleep there is no reading until the time is measured anew", async () => {
    const { proxy, page } = await watching(withWallClock(0));
    // Measurements wait until the test lets them pass.
    proxy.block();
    // The monotonic clock of a device that sleeps falls behind its wall clock.
    await stepWallClock(page, 3_600_000);
    await expect.poll(async () => (await recorded(page, "texts")).lastIndexOf("-:--")).toBeGreaterThan(0);
    await shows(page, "text", /^9:\d\d$/);
    expect(proxy.accepted).toBe(2);
  });

  test("a page that is frozen shows the newest state when it continues", async () => {
    const { client, session_id, page } = await watching();
    const thaw = await freeze(page);
    await client.api.sessions.switch(session_id, {});
    await client.api.sessions.pause(session_id, {});
    await thaw();
    await shows(page, "version", `4 ${BOB}`);
  });

  test("a page that is loaded again resumes with what it missed", async () => {
    const { client, session_id, page } = await watching();
    await page.evaluate(() => (window as unknown as Recorded).watch.ready());
    const url = page.url();
    await page.goto("about:blank");
    await client.api.sessions.switch(session_id, {});
    await page.goto(url);
    await shows(page, "version", `3 ${BOB}`);
    expect(await recorded(page, "frames")).toContain("STATE_DELTA true");
  });
});

describe("offline", () => {
  test("a press without a network shows at once, and takes effect once when the network is back", async () => {
    const { client, session_id, proxy, page } = await watching();
    proxy.refuse(true);
    proxy.drop();
    await shows(page, "status", "reconnecting");
    await page.context().setOffline(true);
    await page.evaluate(() => void (window as unknown as Recorded).watch.command("switch"));
    await shows(page, "version", `2 ${BOB}`);
    expect((await client.api.sessions.get(session_id)).version).toBe(2);
    proxy.refuse(false);
    await page.context().setOffline(false);
    await shows(page, "version", `3 ${BOB}`);
    expect((await client.api.sessions.get(session_id)).turn_number).toBe(2);
  });
});

describe("hidden tab", () => {
  test("a hidden page does not judge a silent server, and asks when it is shown", async () => {
    const { proxy, page } = await watching((each) => each.clock.install());
    await shows(page, "status", "connected");
    await setHidden(page, true);
    proxy.block();
    await page.clock.runFor(120_000);
    expect(await recorded(page, "states")).toEqual(["connected"]);
    await setHidden(page, false);
    await page.clock.runFor(2_500);
    await expect.poll(() => recorded(page, "states")).toContain("reconnecting 1006 the server is silent");
    await page.clock.runFor(1_000);
    await shows(page, "status", "connected");
    expect(proxy.accepted).toBe(2);
  });

  test("a shown page leaves a silent server after 15 s", async () => {
    const { proxy, page } = await watching((each) => each.clock.install());
    await shows(page, "status", "connected");
    proxy.block();
    await page.clock.runFor(26_000);
    await expect.poll(() => recorded(page, "states")).toContain("reconnecting 1006 the server is silent");
  });
});

describe("wrong and stepping local clock", () => {
  test("a wrong wall clock, and one that is set back, change no reading", async () => {
    const { client, session_id, page } = await watching(withWallClock(-5 * 365 * 86_400_000));
    await stepWallClock(page, -3_600_000);
    const deadlineMs = Date.parse((await client.api.sessions.get(session_id)).deadline_at ?? "");
    const beforeMs = Date.now();
    const { errorMs, now, leftMs, later } = await readingOf(page);
    const afterMs = Date.now();
    expect(now).toBeGreaterThanOrEqual(beforeMs - errorMs - 1);
    expect(later).toBeLessThanOrEqual(afterMs + errorMs + 1);
    expect(leftMs).toBeGreaterThanOrEqual(deadlineMs - later - 1);
    expect(leftMs).toBeLessThanOrEqual(deadlineMs - now + 1);
    expect((await recorded(page, "texts")).slice(1)).not.toContain("-:--");
  });

  test("a wall clock that is set forward and back shows no wrong time", async () => {
    const { page } = await watching(withWallClock(0));
    for (const stepMs of [3_600_000, -7_200_000, 600_000, 400, -5_000]) {
      await stepWallClock(page, stepMs);
      await page.waitForFunction(() => (window as unknown as Recorded).client.now() !== null);
      const beforeMs = Date.now();
      const { errorMs, now, later } = await readingOf(page);
      const afterMs = Date.now();
      expect(now).toBeGreaterThanOrEqual(beforeMs - errorMs - 1);
      expect(later).toBeLessThanOrEqual(afterMs + errorMs + 1);
    }
    for (const each of await recorded(page, "texts")) expect(each).toMatch(/^(-:--|10:00|9:[0-5]\d)$/);
    expect(await recorded(page, "states")).toEqual(["connected"]);
  });
});

describe("token expiry in sleep", () => {
  test("a token that expires while the page is frozen is replaced", async () => {
    const auth = inject("authUrl");
    const { api } = connectTo(auth, { token: signToken() });
    const { session_id } = await api.sessions.create({ sync_mode: "global", total_time_ms: 600_000, participants: [] });
    const proxy = await proxyTo(auth);
    const requests: boolean[] = [];
    const getToken = async ({ force }: { force: boolean }) => {
      requests.push(force);
      if (requests.length === 2) throw new Error("the network is away");
      return signToken("alice", requests.length === 1 ? 3 : 600);
    };
    const expired = proxy.closedByServer();
    const parameters = { server: proxy.url, session: session_id, participant: "" };
    const page = await open("watching", parameters, (each) => each.exposeFunction("getToken", getToken));
    await shows(page, "version", "1");
    const thaw = await freeze(page);
    await expired;
    await thaw();
    await shows(page, "status", "connected");
    await expect.poll(() => requests).toEqual([false, true, true]);
    await api.sessions.start(session_id);
    await shows(page, "version", "2");
  });
});

describe("network change", () => {
  test("after a change of the network the page asks at once, and takes a new connection after 2 s", async () => {
    const { client, session_id, proxy, page } = await watching();
    proxy.block();
    await client.api.sessions.switch(session_id, {});
    await page.context().setOffline(true);
    await page.context().setOffline(false);
    await shows(page, "version", `3 ${BOB}`);
    expect(proxy.accepted).toBe(2);
    expect(await recorded(page, "states")).toEqual(["connected", "reconnecting 1006 the server is silent", "connected 1006 the server is silent"]);
    expect(await recorded(page, "frames")).toContain("STATE_DELTA true");
  });
});

describe("slow network", () => {
  test("a slow network gives the same time with a larger error", async () => {
    const { page } = await watching(undefined, 150);
    const beforeMs = Date.now();
    const { errorMs, now, later } = await readingOf(page);
    const afterMs = Date.now();
    expect(errorMs).toBeGreaterThanOrEqual(150);
    expect(now).toBeGreaterThanOrEqual(beforeMs - errorMs - 1);
    expect(later).toBeLessThanOrEqual(afterMs + errorMs + 1);
  });
});
