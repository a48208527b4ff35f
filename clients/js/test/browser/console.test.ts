// The page /console of the server, with and without authentication.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { JWT_SECRET, signToken } from "../tokens.js";
import { useChromium } from "./chromium.js";
import { WIDTHS, expectSmall, expectUsable, isPageFile, openServerPage } from "./server-page.js";

const open = useChromium();

/** Run a command of the server, and return its output. */
function synckairos(args: string[], env: NodeJS.ProcessEnv): string {
  const repository = fileURLToPath(new URL("../../../../", import.meta.url));
  const python = process.env.SYNCKAIROS_PYTHON ?? `${repository}.venv/bin/python`;
  return execFileSync(python, ["-m", "synckairos", ...args], { encoding: "utf8", env: { ...env, PYTHONPATH: repository } });
}

const openConsole = (fragment: string, base = inject("serverUrl")) =>
  openServerPage(open, `${base}/console${fragment}`, { width: 1280, height: 900 });

const hasState = (page: Page, state: string) => page.locator(`#section[data-state=${state}]`).waitFor();
const press = (page: Page, name: string | RegExp) => page.getByRole("button", { name, exact: true }).click();

async function sections(page: Page): Promise<string[]> {
  const navigation = page.getByRole("navigation", { name: "Sections" });
  await navigation.waitFor();
  return navigation.getByRole("link").allTextContents();
}

test("an operator finds a session, reads its history and replays it, at a width of 320 pixels up to 4K", async () => {
  const round = crypto.randomUUID();
  const { session_id } = await createSession({ labels: { round }, metadata: { title: "Final" } });
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session_id);
  await api.sessions.switch(session_id, {});
  const { page, refused, files } = await openConsole("");
  await page.locator("#section[data-state=live], #section[data-state=empty]").waitFor();
  await expectSmall(files.filter(isPageFile));
  await page.getByLabel("Label, such as round=3").fill("round=none");
  await press(page, "Load");
  await hasState(page, "empty");
  await expectUsable(page);
  await page.getByLabel("Label, such as round=3").fill(`round=${round}`);
  await press(page, "Load");
  await hasState(page, "live");
  await page.getByLabel("Text in the entries").fill("bob");
  expect(await page.locator("tbody tr").count()).toBe(1);
  await page.getByLabel("Text in the entries").fill("text of no entry");
  await hasState(page, "empty");
  await page.getByLabel("Text in the entries").fill("");
  await expectUsable(page, WIDTHS);
  await page.getByRole("link", { name: "Final" }).click();
  await page.getByRole("button", { name: /^3 · cycle_switched/ }).and(page.locator("[aria-current]")).waitFor();
  await page.locator("pre").getByText('"version": 3').waitFor();
  await page.getByText("1 device, this page included").waitFor();
  await page.getByRole("slider").fill("0");
  await page.getByText(/^Version 1 at/).waitFor();
  await page.locator("pre").getByText('"status": "pending"').waitFor();
  await page.getByRole("button", { name: /^2 · session_started/ }).click();
  await page.getByText(/^Version 2 at/).waitFor();
  await press(page, "Replay");
  for (const version of [1, 2]) await page.getByText(new RegExp(`^Version ${version} at`)).waitFor();
  await page.getByText("The newest state", { exact: true }).waitFor();
  await api.sessions.pause(session_id, { reason: "tea" });
  await page.getByRole("button", { name: /^4 · session_paused/ }).and(page.locator("[aria-current]")).waitFor();
  await expectUsable(page, WIDTHS);
  await press(page, "Delete the session");
  await page.getByRole("dialog").getByRole("button", { name: "Delete the session" }).click();
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await page.locator("#section[data-state=live], #section[data-state=empty]").waitFor();
  expect(await page.locator(`a[href$="${session_id}"]`).count()).toBe(0);
  expect(refused).toEqual([]);
});

test("a session with more events than a page of them keeps the loaded events, and marks the newest one after it is loaded", async () => {
  const { session_id } = await createSession();
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session_id);
  for (let at = 0; at < 100; at += 1) await api.sessions.switch(session_id, {});
  const { page } = await openConsole(`#session/${session_id}`);
  const events = page.locator("#events button");
  await expect.poll(() => events.count()).toBe(100);
  expect(await page.locator("#events [aria-current]").count()).toBe(0);
  await press(page, "Load more events");
  await page.getByRole("button", { name: /^102 · cycle_switched/ }).and(page.locator("[aria-current]")).waitFor();
  await api.sessions.pause(session_id, {});
  await page.getByRole("button", { name: /^103 · session_paused/ }).and(page.locator("[aria-current]")).waitFor();
  expect(await events.count()).toBe(103);
});

test("while a request for an earlier state is open, the slider sends no others, and then one for its newest instant", async () => {
  const { session_id } = await createSession();
  await connectTo(inject("serverUrl")).api.sessions.start(session_id);
  const { page } = await openConsole(`#session/${session_id}`);
  await page.getByText("The newest state", { exact: true }).waitFor();
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const instants: number[] = [];
  await page.route("**/v1/sessions/*?at=*", async (route) => {
    instants.push(Number(new URL(route.request().url()).searchParams.get("at")));
    await released;
    await route.continue();
  });
  const slider = page.getByRole("slider");
  for (const value of ["0.5", "0.4", "0.3", "0"]) await slider.fill(value);
  await expect.poll(() => instants.length).toBe(1);
  release();
  await page.getByText(/^Version 1 at/).waitFor();
  expect(instants).toHaveLength(2);
});

test("each request of the page can be copied as a command that does the same", async () => {
  const { session_id } = await createSession();
  const { page, files } = await openConsole(`#session/${session_id}`);
  await page.locator("#events button").waitFor();
  await page.getByText("The newest state", { exact: true }).waitFor();
  await expectSmall(files.filter(isPageFile));
  await page.getByText("Requests of this page").click();
  const commands = await page.locator("#request-list code").allTextContents();
  expect(commands).toHaveLength(3);
  const events = commands.find((each) => each.includes("/events")) as string;
  expect(events).toBe(`curl '${inject("serverUrl")}/v1/sessions/${session_id}/events?limit=100'`);
  const answer = JSON.parse(execFileSync("sh", ["-c", `${events} --silent`], { encoding: "utf8" }));
  expect(answer.data.map((each: { event_type: string }) => each.event_type)).toEqual(["session_created"]);
  await expectUsable(page);
});

test("an operator registers, tests and deletes a webhook, and sees its deliveries", async () => {
  const url = `https://example.org/${crypto.randomUUID()}`;
  const { page } = await openConsole("#webhooks");
  await page.getByText("Register an endpoint").first().click();
  await page.getByLabel("URL", { exact: true }).fill(url);
  await press(page, "Register an endpoint");
  await page.getByText(/^This text is shown one time\. whsec_/).waitFor();
  await press(page, `Disable: ${url}`);
  await press(page, `Enable: ${url}`);
  await press(page, `Test: ${url}`);
  await page.getByRole("link", { name: url }).click();
  await page.getByRole("cell", { name: "webhook_test", exact: true }).waitFor();
  await expectUsable(page);
  await page.getByRole("link", { name: "Webhooks" }).click();
  await page.setViewportSize({ width: 390, height: 900 });
  const remove = page.getByRole("button", { name: `Delete: ${url}` });
  const { x = 0, width = 390 } = (await remove.boundingBox()) ?? {};
  expect(x + width).toBeLessThanOrEqual(390); // On a phone the last column is on the screen too.
  await expectUsable(page);
  await remove.click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("link", { name: url }).waitFor({ state: "detached" });
});

test("a late answer for a list that was left does not change the section that is shown", async () => {
  const { page } = await openConsole("#figures");
  await hasState(page, "live");
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/v1/webhooks*", async (route) => {
    await released;
    await route.fulfill({ status: 403, headers: { "Content-Type": "application/problem+json" }, body: '{"detail": "Too late"}' });
  });
  const asked = page.waitForRequest("**/v1/webhooks*");
  await page.getByRole("link", { name: "Webhooks" }).click();
  await asked;
  await page.getByRole("link", { name: "Figures" }).click();
  await hasState(page, "live");
  const answered = page.waitForEvent("requestfinished", (each) => each.url().includes("/v1/webhooks"));
  release();
  await answered;
  await press(page, "Read now");
  await page.locator("#figures li").filter({ hasText: "Requests of this instance" }).getByText(/a second$/).waitFor();
  expect(await page.locator("#fault").textContent()).toBe("");
  await hasState(page, "live");
});

test("the figures are read from the metrics, with a chart of the last readings", async () => {
  const { page, refused } = await openConsole("#figures");
  await hasState(page, "live");
  const figure = (title: string) => page.locator("#figures li").filter({ hasText: title });
  await figure("Instances").getByText("1", { exact: true }).waitFor();
  await createSession();
  await press(page, "Read now");
  await figure("Commands of this instance").getByText(/^[\d.,]+ a second$/).waitFor();
  const points = await figure("Instances").locator("polyline").getAttribute("points");
  expect(points?.split(" ").length).toBeGreaterThanOrEqual(2);
  await expectUsable(page, WIDTHS);
  expect(refused).toEqual([]);
});

test("an administrator makes and revokes a key, and makes a link, a member and a revocation", async () => {
  const auth = inject("authUrl");
  const token = signToken();
  const { session_id } = await connectTo(auth, { token }).api.sessions.create({
    sync_mode: "per_participant",
    participants: [ADA, BOB].map((participant_id) => ({ participant_id, total_time_ms: 600_000 })),
  });
  const { page, refused } = await openConsole(`#token=${token}`, auth);
  await page.getByText("alice (admin)").waitFor();
  expect(await sections(page)).toEqual([
    ...["Sessions", "Webhooks", "Access log", "API keys", "Links", "Members", "Member jobs", "Revocations", "Signing keys", "Figures"],
  ]);
  const go = async (name: string) => {
    await page.getByRole("link", { name, exact: true }).click();
    await page.getByRole("heading", { name, exact: true }).waitFor();
    await page.locator("#section:not([data-state=loading])").waitFor();
  };
  const make = async (name: string, fields: Record<string, string>) => {
    await page.getByText(name).first().click();
    for (const [label, value] of Object.entries(fields)) await page.locator("#section details").getByLabel(label).fill(value);
    await press(page, name);
  };
  const label = `label ${crypto.randomUUID()}`;
  await go("API keys");
  await make("Make a key", { Label: label });
  const row = page.getByRole("row").filter({ hasText: label });
  await page.getByText(/^This text is shown one time\. synckairos_/).waitFor();
  await row.getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await row.waitFor({ state: "detached" });
  await go("Links");
  await make("Make a link", { "Session: its id": session_id });
  await page.getByText(/^This text is shown one time\. .*\/view\//).waitFor();
  await go("Members");
  await make("Give a role", { Subject: "carol", Resource: session_id });
  await page.getByRole("row").filter({ hasText: "carol" }).waitFor();
  await go("Revocations");
  await make("Revoke", { "Subject, jti": "mallory" });
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("row").filter({ hasText: "subject mallory" }).waitFor();
  await go("Access log");
  await page.getByRole("cell", { name: /^manage_revocations|POST \/v1\/revocations/ }).first().waitFor();
  await expectUsable(page);
  await go("Member jobs");
  await go("Signing keys");
  await page.getByText("Requests of this page").click();
  expect((await page.locator("#request-list code").allTextContents()).join()).toContain('-H "Authorization: Bearer $TOKEN"');
  expect(refused).toEqual([]);
});

test("what a role may not do is not on the page", async () => {
  const auth = inject("authUrl");
  const { session_id } = await connectTo(auth, { token: signToken() }).api.sessions.create({
    sync_mode: "count_up",
    metadata: { title: "Open day" },
    participants: [{ participant_id: ADA }],
  });
  const claims = (role: string) => ({ role, grants: [{ sessions: [session_id] }] });
  const viewer = await openConsole(`#token=${signToken("vera", 600, claims("viewer"))}`, auth);
  await viewer.page.getByRole("link", { name: "Open day" }).click();
  await viewer.page.locator("pre").getByText('"version": 1').waitFor();
  expect(await sections(viewer.page)).toEqual(["My sessions"]);
  for (const name of ["Replay", "Delete the session", "Read the newest deliveries"]) {
    expect(await viewer.page.getByRole("button", { name }).count()).toBe(0);
  }
  await expectUsable(viewer.page);
  await press(viewer.page, "Sign out");
  await viewer.page.getByRole("heading", { name: "Sign in" }).waitFor();
  const host = await openConsole(`#token=${signToken("carol", 600, claims("controller"))}`, auth);
  await host.page.getByRole("link", { name: "Open day" }).click();
  await host.page.getByRole("button", { name: /^1 · session_created/ }).waitFor();
  const without = await openConsole("", auth);
  await without.page.getByRole("heading", { name: "Sign in" }).waitFor();
  await expectUsable(without.page);
  expect(await sections((await openConsole("")).page)).toEqual(["Sessions", "Webhooks", "Access log", "Jobs", "Failed entries", "Figures"]);
});

test("an operator creates and suspends a tenant", async () => {
  const env = { ...process.env, ...inject("stores"), SYNCKAIROS_AUTH: "required", JWT_SECRET, SYNCKAIROS_KEY_PREFIX: "auth" };
  const key = synckairos(["operator-keys", "create"], env).match(/synckairos_\S+/)?.[0];
  const { page } = await openConsole(`#token=${key}`, inject("authUrl"));
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  expect(await sections(page)).toEqual(["Tenants", "Jobs", "Failed entries", "Figures"]);
  const tenant = `t${crypto.randomUUID()}`;
  await page.getByText("Create a tenant").first().click();
  await page.getByLabel("Name").fill(tenant);
  await press(page, "Create a tenant");
  await press(page, `Suspend: ${tenant}`);
  await page.getByRole("dialog").getByRole("button", { name: "Suspend" }).click();
  await page.getByRole("button", { name: `Activate: ${tenant}` }).waitFor();
  await expectUsable(page);
  await page.getByRole("link", { name: "Figures" }).click();
  await page.locator("#figures li").filter({ hasText: "Instances" }).getByText(/^\d+$/).waitFor();
});

test("a limited client sees when to try again, and an unreachable server is named", async () => {
  const { page } = await openConsole("");
  await hasState(page, "live");
  const problem = { detail: "Too many requests", error: { code: "RATE_LIMIT_EXCEEDED" } };
  await page.route("**/v1/sessions?*", (route) =>
    route.fulfill({ status: 429, headers: { "Retry-After": "7", "Content-Type": "application/problem+json" }, body: JSON.stringify(problem) }),
  );
  await press(page, "Load");
  await page.getByText("Too many requests Try again in 7 s.").waitFor();
  await hasState(page, "limited");
  await expectUsable(page);
  await page.unroute("**/v1/sessions?*");
  await page.route("**/v1/sessions?*", (route) => route.abort());
  await press(page, "Load");
  await page.getByText("The server cannot be reached.").waitFor();
  await page.emulateMedia({ colorScheme: "dark" });
  await expectUsable(page);
});

test("without authentication, an operator retries a failed job and sees that no audit entry failed", async () => {
  const { session_id } = await createSession({});
  // A session that has not ended cannot be archived, so each attempt fails.
  const env = { ...process.env, ...inject("stores") };
  const job = /\d+/.exec(synckairos(["jobs", "run", "archive", session_id], env))?.[0];
  const { page, refused } = await openConsole("#jobs");
  const row = page.getByRole("row").filter({ hasText: new RegExp(`^${job}archive`) });
  await row.filter({ hasText: "failed" }).waitFor(); // The page reads the list again while a job is open.
  await row.getByText("has not ended").waitFor();
  await expectUsable(page, WIDTHS);
  const answer = page.waitForResponse((each) => each.url().endsWith(`/v1/jobs/${job}/retry`));
  await press(page, `Retry: ${job}`);
  expect((await answer).status()).toBe(200);
  await row.filter({ hasText: "failed" }).waitFor();
  await page.getByRole("link", { name: "Failed entries" }).click();
  await hasState(page, "empty");
  await press(page, "Retry all entries");
  await page.locator("#request-list code").filter({ hasText: "/v1/failed-entries/retry" }).waitFor({ state: "attached" });
  await expectUsable(page);
  expect(refused).toEqual([]);
});
