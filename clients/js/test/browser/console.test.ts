// The page /console of the server, with and without authentication.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Page, Response } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { JWT_SECRET, signToken } from "../tokens.js";
import { expectAccessible, useChromium } from "./chromium.js";

const MAX_PAGE_BYTES = 60 * 1024;
const WIDTHS = [320, 1280, 3840];

const open = useChromium();

/** Run a command of the server, and return its output. */
function synckairos(args: string[], env: NodeJS.ProcessEnv): string {
  const repository = fileURLToPath(new URL("../../../../", import.meta.url));
  const python = process.env.SYNCKAIROS_PYTHON ?? `${repository}.venv/bin/python`;
  return execFileSync(python, ["-m", "synckairos", ...args], { encoding: "utf8", env: { ...env, PYTHONPATH: repository } });
}

async function openConsole(fragment: string, base = inject("serverUrl")) {
  const refused: string[] = [];
  const files: Response[] = [];
  const page = await open(`${base}/console${fragment}`, {}, async (each) => {
    await each.setViewportSize({ width: 1280, height: 900 });
    each.on("console", (message) => message.text().includes("Security Policy") && refused.push(message.text()));
    each.on("response", (response) => files.push(response));
  });
  return { page, refused, files };
}

/** Check a page with axe, and that it fits into the widths. */
async function check(page: Page, widths = [1280]): Promise<void> {
  await expectAccessible(page);
  for (const width of widths) {
    await page.setViewportSize({ width, height: 900 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  }
}

/** Check that the files that a page has loaded have at most 60 KiB, compressed. */
async function checkSize(files: Response[]): Promise<void> {
  const bodies = files.filter((each) => each.ok() && !each.url().includes("/v1/")).map(async (each) => gzipSync(await each.body()).length);
  expect((await Promise.all(bodies)).reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(MAX_PAGE_BYTES);
}

const hasState = (page: Page, state: string) => page.locator(`#section[data-state=${state}]`).waitFor();
const press = (page: Page, name: string | RegExp) => page.getByRole("button", { name, exact: true }).click();

async function sections(page: Page): Promise<string[]> {
  const navigation = page.getByRole("navigation", { name: "Sections" });
  await navigation.waitFor();
  return navigation.getByRole("link").allTextContents();
}

test("an operator finds a session, reads its story and plays it again, at a width of 320 pixels up to 4K", async () => {
  const round = crypto.randomUUID();
  const { session_id } = await createSession({ labels: { round }, metadata: { title: "Final" } });
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session_id);
  await api.sessions.switch(session_id, {});
  const { page, refused, files } = await openConsole("");
  await page.locator("#section[data-state=live], #section[data-state=empty]").waitFor();
  await checkSize(files);
  await page.getByLabel("Label, such as round=3").fill("round=none");
  await press(page, "Load");
  await hasState(page, "empty");
  await check(page);
  await page.getByLabel("Label, such as round=3").fill(`round=${round}`);
  await press(page, "Load");
  await hasState(page, "live");
  await page.getByLabel("Text in the entries").fill("bob");
  expect(await page.locator("tbody tr").count()).toBe(1);
  await page.getByLabel("Text in the entries").fill("nobody");
  await hasState(page, "empty");
  await page.getByLabel("Text in the entries").fill("");
  await check(page, WIDTHS);
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
  await check(page, WIDTHS);
  await press(page, "Delete the session");
  await page.getByRole("dialog").getByRole("button", { name: "Delete the session" }).click();
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await page.locator("#section[data-state=live], #section[data-state=empty]").waitFor();
  expect(await page.locator(`a[href$="${session_id}"]`).count()).toBe(0);
  expect(refused).toEqual([]);
});

test("each request of the page can be copied as a command that does the same", async () => {
  const { session_id } = await createSession();
  const { page, files } = await openConsole(`#session/${session_id}`);
  await page.locator("#events button").waitFor();
  await page.getByText("The newest state", { exact: true }).waitFor();
  await checkSize(files);
  await page.getByText("Requests of this page").click();
  const commands = await page.locator("#request-list code").allTextContents();
  expect(commands).toHaveLength(3);
  const events = commands.find((each) => each.includes("/events")) as string;
  expect(events).toBe(`curl '${inject("serverUrl")}/v1/sessions/${session_id}/events?limit=100'`);
  const answer = JSON.parse(execFileSync("sh", ["-c", `${events} --silent`], { encoding: "utf8" }));
  expect(answer.data.map((each: { event_type: string }) => each.event_type)).toEqual(["session_created"]);
  await check(page);
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
  await check(page);
  await page.getByRole("link", { name: "Webhooks" }).click();
  await press(page, `Delete: ${url}`);
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("link", { name: url }).waitFor({ state: "detached" });
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
  await check(page, WIDTHS);
  expect(refused).toEqual([]);
});

test("an administrator makes and ends a key, a link, a member and a revocation", async () => {
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
  await row.getByRole("button", { name: /^End/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
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
  await check(page);
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
  await check(viewer.page);
  await press(viewer.page, "Sign out");
  await viewer.page.getByRole("heading", { name: "Sign in" }).waitFor();
  const host = await openConsole(`#token=${signToken("carol", 600, claims("controller"))}`, auth);
  await host.page.getByRole("link", { name: "Open day" }).click();
  await host.page.getByRole("button", { name: /^1 · session_created/ }).waitFor();
  const without = await openConsole("", auth);
  await without.page.getByRole("heading", { name: "Sign in" }).waitFor();
  await check(without.page);
  expect(await sections((await openConsole("")).page)).toEqual(["Sessions", "Webhooks", "Access log", "Figures"]);
});

test("an operator creates and suspends a tenant", async () => {
  const env = { ...process.env, ...inject("stores"), SYNCKAIROS_AUTH: "required", JWT_SECRET, SYNCKAIROS_KEY_PREFIX: "auth" };
  const key = synckairos(["operator-keys", "create"], env).match(/synckairos_\S+/)?.[0];
  const { page } = await openConsole(`#token=${key}`, inject("authUrl"));
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  expect(await sections(page)).toEqual(["Tenants", "Figures"]);
  const tenant = `t${crypto.randomUUID()}`;
  await page.getByText("Create a tenant").first().click();
  await page.getByLabel("Name").fill(tenant);
  await press(page, "Create a tenant");
  await press(page, `Suspend: ${tenant}`);
  await page.getByRole("dialog").getByRole("button", { name: "Suspend" }).click();
  await page.getByRole("button", { name: `Activate: ${tenant}` }).waitFor();
  await check(page);
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
  await check(page);
  await page.unroute("**/v1/sessions?*");
  await page.route("**/v1/sessions?*", (route) => route.abort());
  await press(page, "Load");
  await page.getByText("The server cannot be reached.").waitFor();
  await page.emulateMedia({ colorScheme: "dark" });
  await check(page);
});
