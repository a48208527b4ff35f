// The pages /control, /desk and /agenda of the server, with and without authentication.
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession, proxyTo } from "../helpers.js";
import { signToken } from "../tokens.js";
import { useChromium } from "./chromium.js";
import { expectSmall, expectUsable, openServerPage } from "./server-page.js";

const PEOPLE = [
  { participant_id: ADA, display_name: "Ada" },
  { participant_id: BOB, display_name: "Bob" },
];
const PLAN = {
  sync_mode: "per_cycle" as const,
  participants: [{ participant_id: ADA, display_name: "Ada" }],
  metadata: { title: "Board meeting" },
  plan: [
    { item_id: "one", title: "Opening", time_ms: 60_000 },
    { item_id: "two", title: "Budget", time_ms: 60_000 },
    { item_id: "three", title: "Close", time_ms: 60_000 },
  ],
};

const open = useChromium();
const server = () => inject("serverUrl");

const openPage = (path: string, width = 1280, base = server()) => openServerPage(open, `${base}/${path}`, { width, height: 800 });

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const hasStatus = (page: Page, status: string) => page.locator(`html[data-status=${status}]`).waitFor();
const hasName = (page: Page, name: string) => page.locator("#name").getByText(name).waitFor();

test("a host leads a meeting by buttons", async () => {
  const { session_id } = await createSession(PLAN);
  const { page, refused } = await openPage(`control/${session_id}`);
  await press(page, "Start");
  await hasStatus(page, "running");
  await hasName(page, "Opening");
  await press(page, "Next item");
  await hasName(page, "Budget");
  await press(page, "Previous item");
  await hasName(page, "Opening");
  await press(page, "+1 min");
  await page.locator("#clock [part=time]").getByText(/^1:5\d$/).waitFor();
  await press(page, "End and wait");
  await page.getByText("Paused: hold").waitFor();
  await press(page, "Begin next item");
  await hasName(page, "Budget");
  await page.getByRole("button", { name: "Go to: Close" }).click();
  await hasName(page, "Close");
  await expectUsable(page);
  await press(page, "Finish");
  await page.getByRole("dialog").getByRole("button", { name: "Finish" }).click();
  await hasStatus(page, "completed");
  await press(page, "Continue with 1 min more");
  await page.getByText("Paused: reopened").waitFor();
  expect(refused).toEqual([]);
});

test("a host leads a meeting by keys, and can turn the keys off", async () => {
  const { session_id } = await createSession(PLAN);
  const { page } = await openPage(`control/${session_id}`);
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
  const key = (name: string) => page.keyboard.press(name);
  await key("Space");
  await hasStatus(page, "running");
  await key("ArrowRight");
  await hasName(page, "Budget");
  await key("ArrowLeft");
  await hasName(page, "Opening");
  await key("ArrowUp");
  await page.locator("#clock [part=time]").getByText(/^1:5\d$/).waitFor();
  await key("ArrowDown");
  await page.locator("#clock [part=time]").getByText(/^0:5\d$/).waitFor();
  await key("b");
  await page.getByLabel("nothing").and(page.locator(":checked")).waitFor();
  await key("?");
  await page.getByRole("dialog").getByText("darken the screens").waitFor();
  await press(page, "Close");
  await key("m");
  await page.keyboard.type("b ");
  expect(await page.getByLabel("Text").inputValue()).toBe("b ");
  await hasStatus(page, "running");
  await page.getByLabel("Shortcuts").uncheck();
  await page.getByLabel("Shortcuts").blur();
  await key("Space");
  await press(page, "End and wait"); // The page handles events in order, so the key came first.
  await page.getByText("Paused: hold").waitFor();
  expect(await page.getByLabel("nothing").isChecked()).toBe(true);
});

test("a host announces, and changes what the screens show", async () => {
  const { session_id } = await createSession();
  const { page } = await openPage(`control/${session_id}`);
  const view = await openPage(`view/${session_id}`);
  await page.getByLabel("Text").fill("Bags at the door");
  await page.getByLabel("Tone").selectOption("warning");
  await page.getByLabel("Show for").selectOption("5");
  await press(page, "Announce");
  await view.page.getByText("Attention: Bags at the door").waitFor();
  await page.getByLabel("a standby without clocks").check();
  await view.page.locator("html[data-screen=standby]").waitFor();
  await press(page, "Remove");
  await view.page.locator("#announcement").waitFor({ state: "hidden" });
  await page.getByText("2 devices are connected").waitFor();
  await page.getByLabel("Link for").selectOption("Bob");
  await press(page, "Make the link");
  await page.locator("#qr").waitFor();
  expect(await page.locator("#link").getAttribute("href")).toBe(`${server()}/desk/${session_id}?participant=${BOB}`);
});

test("a press that arrives after its turn changes nothing and says so", async () => {
  const { session_id } = await createSession({ participants: PEOPLE.map((each) => ({ ...each, total_time_ms: 600_000 })) });
  const { api } = connectTo(server());
  await api.sessions.start(session_id);
  const proxy = await proxyTo();
  const { page } = await openPage(`control/${session_id}`, 1280, proxy.url);
  await page.getByText("Ada, has the turn").waitFor();
  proxy.block();
  await api.sessions.switch(session_id, {});
  await press(page, "Next turn");
  proxy.drop(); // The page connects again, and sends the press again.
  await page.getByText("This turn was already over. Nothing was changed.").waitFor();
  expect((await api.sessions.get(session_id)).turn_number).toBe(2);
});

test.each(["per_participant", "per_group", "global", "count_up", "individual"] as const)("a host of a session in %s has its buttons", async (mode) => {
  const { session_id } = await createSession({
    sync_mode: mode,
    participants: PEOPLE.map((each) => ({
      ...each,
      ...(mode === "per_participant" || mode === "individual" || mode === "per_group" ? { total_time_ms: 600_000 } : {}),
      ...(mode === "per_group" ? { group_id: each.participant_id } : {}),
    })),
    ...(mode === "global" ? { total_time_ms: 600_000 } : {}),
  });
  const { page } = await openPage(`control/${session_id}`, 320);
  await press(page, "Start");
  await hasStatus(page, "running");
  const labels = await page.locator("#actions button").allTextContents();
  expect(labels.includes("Next turn")).toBe(mode !== "individual");
  expect(labels.includes("+1 min")).toBe(mode !== "count_up");
  if (mode === "individual") {
    await page.getByRole("button", { name: "Finish: Ada" }).click();
    await page.getByRole("button", { name: "Continue with 1 min more: Ada" }).waitFor();
  } else {
    await page.getByRole("button", { name: "Give the turn: Bob" }).click();
    await page.getByText("Bob, has the turn").waitFor();
  }
  await expectUsable(page);
});

test("what a role may not do is not on the page", async () => {
  const auth = inject("authUrl");
  const { session_id } = await connectTo(auth, { token: signToken() }).api.sessions.create({
    sync_mode: "per_participant",
    participants: PEOPLE.map((each) => ({ ...each, total_time_ms: 600_000 })),
  });
  const grants = { grants: [{ sessions: ["*"] }] };
  const link = (name: string, claims: object) => `${name}/${session_id}#token=${signToken("carol", 600, { ...grants, ...claims })}`;
  const viewer = await openPage(link("control", { role: "viewer" }), 1280, auth);
  await viewer.page.getByRole("link", { name: "Open the view" }).waitFor();
  expect(await viewer.page.getByRole("button").count()).toBe(0);
  await expectUsable(viewer.page);
  const participant = await openPage(link("control", { role: "participant", participant_id: ADA }), 1280, auth);
  await participant.page.getByRole("link", { name: "Open the page of a participant" }).click();
  await participant.page.getByRole("heading", { name: "Ada" }).waitFor();
  expect(await participant.page.getByRole("heading", { name: "Bob" }).count()).toBe(0);
  const watcher = await openPage(link("desk", { role: "viewer" }), 1280, auth);
  await watcher.page.getByText("This link does not allow to take part in the session").waitFor();
  const host = await openPage(link("control", { role: "controller" }), 1280, auth);
  await press(host.page, "Start");
  await hasStatus(host.page, "running");
  await host.page.getByLabel("Link for").selectOption("Ada");
  await press(host.page, "Make the link");
  await host.page.getByRole("link", { name: `/desk/${session_id}#link=` }).waitFor();
  await host.page.locator("#qr svg").waitFor();
  expect(host.refused).toEqual([]);
  const without = await openPage(`control/${session_id}`, 1280, auth);
  await without.page.getByText("This page needs a link with a token").waitFor();
});

test("two players share one phone", async () => {
  const { session_id } = await createSession();
  await connectTo(server()).api.sessions.start(session_id);
  const { page, refused } = await openPage(`desk/${session_id}?participant=${ADA}&opposite=${BOB}`, 360);
  const seat = (name: string) => page.getByRole("region", { name });
  await seat("Ada").getByRole("button", { name: "Press" }).click();
  await seat("Bob").getByRole("button", { name: "Press" }).waitFor();
  await seat("Ada").getByRole("button", { name: "Wait" }).waitFor();
  expect(await seat("Bob").evaluate((each) => getComputedStyle(each).rotate)).toBe("180deg");
  expect(await seat("Ada").evaluate((each) => getComputedStyle(each).rotate)).toBe("none");
  await expectUsable(page);
  expect(refused).toEqual([]);
});

test("a desk without a participant offers the participants, and one of another session is refused", async () => {
  const { session_id } = await createSession();
  const { page } = await openPage(`desk/${session_id}`, 320);
  await expectUsable(page);
  await page.getByRole("link", { name: "Bob" }).click();
  await page.getByRole("button", { name: "Not started" }).waitFor();
  const other = await openPage(`desk/${session_id}?participant=${crypto.randomUUID()}`);
  await other.page.getByText("This participant is not in the session").waitFor();
});

test("an agenda shows its items and the lateness, at a width of 320 pixels up to 4K", async () => {
  const { session_id } = await createSession(PLAN);
  const { page, refused } = await openPage(`agenda/${session_id}`);
  await page.getByText("not started").first().waitFor();
  await connectTo(server()).api.sessions.start(session_id);
  await page.locator("sync-agenda li").first().getByText("now").waitFor();
  for (const width of [320, 3840]) {
    await page.setViewportSize({ width, height: 800 });
    await expectUsable(page);
  }
  expect(refused).toEqual([]);
});

test("a session without a plan has a link to its view instead of an agenda", async () => {
  const { session_id } = await createSession();
  const { page } = await openPage(`agenda/${session_id}`);
  await page.getByRole("link", { name: "Open its view" }).waitFor();
  await expectUsable(page);
});

test.each(["control", "desk", "agenda"])("the page /%s has at most 60 KiB, opens a session by its id, and says that one is missing", async (name) => {
  const { session_id } = await createSession(PLAN);
  const { page, refused } = await openPage(name);
  await page.getByLabel("Session: its id or a link to it").fill("no id");
  await press(page, "Open");
  await page.getByText("This text has no id of a session.").waitFor();
  await expectUsable(page);
  await page.getByLabel("Session: its id or a link to it").fill(`http://elsewhere/${session_id.toUpperCase()}?x`);
  await press(page, "Open");
  await page.locator("html[data-state=live]").waitFor();
  expect(refused).toEqual([]);
  // A page that loads first has no file in the cache of the browser. Arabic has the largest file of texts.
  const first = await openPage(`${name}/${session_id}?lang=ar`);
  await first.page.locator("html[data-state=live]").waitFor();
  await first.page.waitForLoadState("networkidle");
  expect(first.files.every((each) => each.ok())).toBe(true);
  await expectSmall(first.files);
  const missing = await openPage(`${name}/${crypto.randomUUID()}`);
  await missing.page.getByText("There is no such session").waitFor();
  await expectUsable(missing.page);
});

test("the landing page shows the time of the server and starts sessions, at a width of 320 pixels up to 4K", async () => {
  const { page, files, refused } = await openPage("");
  await page.getByText(/Calculated from the time of the server, ± \d+ ms/).waitFor();
  await page.getByRole("timer").getByText(/^[01]:\d\d\.\d$/).waitFor();
  await page.getByRole("combobox", { name: "Other presets" }).waitFor();
  for (const width of [320, 1280, 3840]) {
    await page.setViewportSize({ width, height: 800 });
    await expectUsable(page);
  }
  await expectSmall(files);
  await press(page, "Start a meeting");
  await page.locator("sync-agenda li").first().getByText("Opening").waitFor();
  expect(refused).toEqual([]);
});

test("each preset of the landing page opens on the control page", async () => {
  const { page } = await openPage("");
  const names = await page.locator("#uses button").evaluateAll((all) => all.map((each) => (each as HTMLButtonElement).value));
  expect(names).toHaveLength(5);
  for (const preset of names) {
    await page.locator(`#uses button[value="${preset}"]`).click();
    await page.waitForURL(/\/control\//); // The landing page also has a button "Start".
    await press(page, "Start");
    await hasStatus(page, "running");
    await page.goto(`${server()}/`);
  }
  await page.getByRole("combobox", { name: "Other presets" }).selectOption("debate/british-parliamentary");
  await press(page, "Start");
  await page.locator("#plan").waitFor();
});

test("a second press on the landing page creates no second session", async () => {
  const { page } = await openPage("");
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  let created = 0;
  await page.route("**/v1/sessions", async (route) => {
    created += 1;
    await released;
    await route.continue();
  });
  const buttons = page.locator("#uses button");
  await buttons.nth(3).click();
  await expect.poll(() => created).toBe(1);
  await buttons.nth(0).dispatchEvent("click"); // A click() of the test would wait until the button is enabled.
  expect(await buttons.nth(0).getAttribute("aria-disabled")).toBe("true");
  release();
  await page.locator("sync-agenda li").first().getByText("Opening").waitFor();
  expect(created).toBe(1);
});

test("the landing page of a server with authentication says that it needs a credential", async () => {
  const { page } = await openPage("", 1280, inject("authUrl"));
  await press(page, "Start a quiz");
  await page.getByText("This server needs a credential.").waitFor();
  await expectUsable(page);
});

test("a host whose connection is lost sees it, and its command is sent once the connection is back", async () => {
  const { session_id } = await createSession();
  const proxy = await proxyTo();
  const { page } = await openPage(`control/${session_id}`, 1280, proxy.url);
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
  proxy.refuse(true);
  proxy.drop();
  await page.getByText("Connection lost. The clock continues").waitFor();
  await expectUsable(page);
  await press(page, "Start");
  proxy.refuse(false);
  await page.locator("html[data-state=live]").waitFor();
  await expect.poll(async () => (await connectTo(server()).api.sessions.get(session_id)).version).toBe(2);
});

test("in dark colours a host sees each text, and in forced colours the page takes those of the system", async () => {
  const { session_id } = await createSession(PLAN);
  const { page } = await openPage(`control/${session_id}`);
  await page.getByRole("button", { name: "Start", exact: true }).waitFor();
  await page.emulateMedia({ colorScheme: "dark" });
  await expectUsable(page);
  await page.emulateMedia({ forcedColors: "active" });
  const start = page.getByRole("button", { name: "Start", exact: true });
  const colors = () => start.evaluate((each) => [getComputedStyle(each).color, getComputedStyle(each).backgroundColor]);
  const system = await page.evaluate(() => {
    const sample = document.body.appendChild(document.createElement("button"));
    const { color, backgroundColor } = getComputedStyle(sample);
    sample.remove();
    return [color, backgroundColor];
  });
  expect(await colors()).toEqual(system);
});
