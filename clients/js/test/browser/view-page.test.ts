// The page /view/{id} of the server, with and without authentication.
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession, proxyTo } from "../helpers.js";
import { signToken } from "../tokens.js";
import { useChromium } from "./chromium.js";
import { expectSmall, expectUsable, openServerPage } from "./server-page.js";

const open = useChromium();
const server = () => inject("serverUrl");

const openView = (path: string, parameters: Record<string, string> = {}, width = 1280, base = server()) =>
  openServerPage(open, `${base}/view/${path}`, { width, height: 720 }, parameters);

const isLive = (page: Page) => page.locator("html[data-state=live]").waitFor();

/** Return whether the digits of a clock are inside the screen. */
const fits = (page: Page, selector: string) =>
  page.locator(`${selector} [part=time]`).first().evaluate((each) => {
    const { left, right } = each.getBoundingClientRect();
    return left >= 0 && right <= innerWidth;
  });

test.each([320, 1280, 3840])("at a width of %d pixels a game is a board that fits", async (width) => {
  const { session_id } = await createSession({ metadata: { title: "Club final" } });
  const { page, refused } = await openView(session_id, {}, width);
  await isLive(page);
  await page.getByRole("heading", { name: "Club final" }).waitFor();
  expect(await page.locator("sync-board li").allTextContents()).toEqual([expect.stringContaining("Ada"), expect.stringContaining("Bob")]);
  expect(await fits(page, "sync-board")).toBe(true);
  await expectUsable(page);
  expect(refused).toEqual([]);
});

test("a page has at most 60 KiB after gzip", async () => {
  const { session_id } = await createSession();
  const { page, files } = await openView(session_id);
  await isLive(page);
  await page.waitForLoadState("networkidle");
  expect(files.length).toBeGreaterThan(6);
  await expectSmall(files);
});

test("one clock for all fills the stage, with hours and on a phone too", async () => {
  const { session_id } = await createSession({ sync_mode: "global", total_time_ms: 3_600_000, participants: [] });
  const { page } = await openView(session_id, { message: "Bags at the door", theme: "dark" }, 320);
  await page.locator("#clock [part=time]").getByText("1:00:00").waitFor();
  await page.getByText("Bags at the door").waitFor();
  expect(await fits(page, "#clock")).toBe(true);
  await expectUsable(page);
  await connectTo(server()).api.sessions.start(session_id);
  await page.locator("#clock [part=time]").getByText(/^59:5\d$/).waitFor();
});

test("a plan has its agenda, and an option leaves it out", async () => {
  const { session_id } = await createSession({
    sync_mode: "per_cycle",
    participants: [{ participant_id: ADA, display_name: "Ada" }],
    plan: [{ item_id: "one", title: "Opening", time_ms: 60_000, participant_id: ADA }, { item_id: "two", time_ms: 60_000 }],
  });
  await connectTo(server()).api.sessions.start(session_id);
  const { page } = await openView(session_id);
  await page.locator("#name").getByText("Opening · Ada").waitFor();
  await page.locator("sync-agenda li").first().getByText("now · Ada").waitFor();
  await expectUsable(page);
  const without = await openView(session_id, { hide: "agenda,names,words" });
  await isLive(without.page);
  expect(await without.page.locator("sync-agenda").isVisible()).toBe(false);
  expect(await without.page.locator("#name").isVisible()).toBe(false);
  expect(await without.page.locator("#clock [part=words]").isVisible()).toBe(false);
});

test("overtime is negative, or stops at zero, with the word", async () => {
  const { session_id } = await createSession({ sync_mode: "global", on_timeout: "overtime", total_time_ms: 1_000, participants: [] });
  const { api } = connectTo(server());
  await api.sessions.start(session_id);
  await api.sessions.adjust(session_id, { delta_ms: -60_000 });
  const { page } = await openView(session_id);
  await page.locator("#clock [part=time]").getByText(/^-\d:\d\d$/).waitFor();
  const frozen = await openView(session_id, { freeze_overtime: "1" });
  await frozen.page.locator("#clock [part=time]").getByText("0:00", { exact: true }).waitFor();
  await frozen.page.locator("#clock [part=words]").getByText("overtime").waitFor();
});

test("a fault of the link is said, and the view works", async () => {
  const { session_id } = await createSession();
  const { page } = await openView(session_id, { face: "clown" });
  await page.getByText("This link has a fault: face must be chess, go, stage, or sport.").waitFor();
  await page.locator("sync-board li").first().waitFor();
});

test("a session that does not exist, and one that is deleted, are said", async () => {
  const missing = await openView(crypto.randomUUID());
  await missing.page.getByText("There is no such session").waitFor();
  await expectUsable(missing.page);
  const { session_id } = await createSession();
  const { page } = await openView(session_id);
  await isLive(page);
  await connectTo(server()).api.sessions.delete(session_id);
  await page.getByText("This session was deleted").waitFor();
});

test("a page whose connection is lost says so, and its clock continues", async () => {
  const { session_id } = await createSession();
  await connectTo(server()).api.sessions.start(session_id);
  const proxy = await proxyTo();
  const { page } = await openView(session_id, {}, 1280, proxy.url);
  await isLive(page);
  proxy.refuse(true);
  proxy.drop();
  await page.getByText("Connection lost. The clock continues").waitFor();
  await expectUsable(page);
  const before = await page.locator("sync-board [part=time]").first().textContent();
  await page.waitForFunction(clockDiffers, before);
  proxy.refuse(false);
  await isLive(page);
});

const clockDiffers = (before: string | null) =>
  document.querySelector("sync-board")?.shadowRoot?.querySelector("sync-clock")?.shadowRoot?.querySelector("[part=time]")?.textContent !== before;

test("with authentication the link needs a token that reaches the session", async () => {
  const auth = inject("authUrl");
  const { api } = connectTo(auth, { token: signToken() });
  const { session_id } = await api.sessions.create({
    sync_mode: "per_participant",
    participants: [{ participant_id: ADA, total_time_ms: 60_000 }, { participant_id: BOB, total_time_ms: 60_000 }],
  });
  const { page } = await openView(`${session_id}#token=${signToken()}`, {}, 1280, auth);
  await isLive(page);
  expect(await page.locator("sync-board li").count()).toBe(2);
  expect(page.url()).not.toContain("token");
  const without = await openView(session_id, {}, 1280, auth);
  await without.page.getByText("This page needs a link with a token").waitFor();
  const wrong = await openView(`${session_id}#token=wrong`, {}, 1280, auth);
  await wrong.page.getByText("The token of this link is not valid any more").waitFor();
});

test("an announcement is shown with its tone until it is removed or its end has come", async () => {
  const { session_id } = await createSession({ metadata: { title: "Club final" } });
  const { api } = connectTo(server());
  const { page } = await openView(session_id);
  await isLive(page);
  await api.sessions.announce(session_id, { text: "Leave by the north door", tone: "urgent", flash: true });
  await page.getByRole("alert").getByText("Leave by the north door").waitFor();
  expect(await page.locator("#announcement").evaluate((each) => [(each as HTMLElement).innerText, getComputedStyle(each).animationName])).toEqual([
    "Urgent: Leave by the north door",
    "flash",
  ]);
  await page.locator("#announcement.flash").evaluate((each) => each.classList.remove("flash")); // axe reads colours
  await expectUsable(page);
  await api.sessions.announce(session_id, { text: null });
  await page.locator("#announcement").waitFor({ state: "hidden" });
  await api.sessions.announce(session_id, { text: "Soon over", until: new Date(Date.now() + 2_000).toISOString() });
  await page.getByText("Soon over").waitFor();
  await page.locator("#announcement").waitFor({ state: "hidden" });
});

test("a page does not flash an announcement for people who ask for less motion", async () => {
  const { session_id } = await createSession();
  const { api } = connectTo(server());
  const { page } = await openView(session_id);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await isLive(page);
  await api.sessions.announce(session_id, { text: "Break", flash: true });
  await page.locator("#announcement.flash").waitFor();
  expect(await page.locator("#announcement").evaluate((each) => getComputedStyle(each).animationName)).toBe("none");
});

test("the host darkens the screens, shows a standby, or only the clock that runs", async () => {
  const { session_id } = await createSession({ metadata: { title: "Club final" } });
  const { api } = connectTo(server());
  const { page } = await openView(session_id);
  await isLive(page);
  await api.sessions.start(session_id);
  await api.sessions.screen(session_id, { mode: "blackout" });
  await page.locator("html[data-screen=blackout]").waitFor();
  expect(await page.locator("main > :visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual(["dark"]);
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(0, 0, 0)");
  await api.sessions.screen(session_id, { mode: "standby" });
  await page.getByRole("heading", { name: "Club final" }).waitFor();
  expect(await page.locator("sync-board").isVisible()).toBe(false);
  await expectUsable(page);
  await api.sessions.screen(session_id, { mode: "focus" });
  await page.locator("#clock [part=time]").getByText(/^9:5\d$/).waitFor();
  expect(await page.locator("sync-board").isVisible()).toBe(false);
  await expectUsable(page);
  await api.sessions.screen(session_id, { mode: "normal" });
  await page.locator("sync-board li").first().waitFor();
});

test("the form makes the link of a view with its QR code", async () => {
  const { session_id } = await createSession();
  const { page, refused } = await openView("", { session: session_id });
  await page.getByLabel("Face").selectOption("sport");
  await page.getByLabel("Language").selectOption("Deutsch");
  await page.getByLabel("Names").check();
  const link = `${server()}/view/${session_id}?face=sport&lang=de&hide=names`;
  await expect.poll(() => page.locator("#link").getAttribute("href")).toBe(link);
  await page.locator("#qr").waitFor();
  await expectUsable(page);
  await page.locator("#link").click();
  await isLive(page);
  await page.getByText("nicht begonnen").first().waitFor();
  expect(refused).toEqual([]);
});

test.each([320, 1280])("at a width of %d pixels the tokens are shown", async (width) => {
  const { page, refused } = await openView("design", {}, width);
  await page.getByRole("heading", { name: "Motion" }).waitFor();
  expect(await page.locator("tbody tr").count()).toBeGreaterThan(20);
  await expectUsable(page);
  expect(refused).toEqual([]);
});
