// The editor of the page /control, and what the pages of a session show while the server limits their rate.
import type { Page } from "playwright-core";
import { expect, inject, onTestFinished, test } from "vitest";
// @ts-expect-error The script has no types.
import { startServer } from "../../scripts/start-server.mjs";
import { ADA, connectTo, createSession } from "../helpers.js";
import { signToken } from "../tokens.js";
import { expectAccessible, useChromium } from "./chromium.js";

const open = useChromium();
const server = () => inject("serverUrl");
const api = new Proxy({} as ReturnType<typeof connectTo>["api"], { get: (_, group: "sessions") => connectTo(server()).api[group] });

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();

async function openEditor(sessionId: string): Promise<Page> {
  const page = await open(`${server()}/control/${sessionId}`, {}, (each) => each.setViewportSize({ width: 320, height: 900 }));
  await page.getByText("Edit the session").click();
  await page.getByLabel("Title").waitFor();
  return page;
}

test("a host changes title, labels and metadata, and an administrator deletes the session", async () => {
  const { session_id } = await createSession({ labels: { round: "2", table: "5" }, metadata: { title: "Draft", room: { floor: 1 }, note: "old" } });
  const page = await openEditor(session_id);
  await page.getByLabel("Title").fill("Final");
  await press(page, "Save the title");
  await page.getByRole("heading", { name: "Final" }).waitFor();
  await page.getByLabel("Labels").fill("round");
  await press(page, "Save the labels");
  await page.getByText("Each label is a key, an equals sign and a value").waitFor();
  await page.getByLabel("Labels").fill("round=3 hall=b");
  await press(page, "Save the labels");
  await expect.poll(async () => (await api.sessions.get(session_id)).labels).toEqual({ round: "3", hall: "b" });
  await page.getByLabel("Metadata as JSON").fill("[]");
  await press(page, "Save the metadata");
  await page.getByText("This text is no JSON object.").waitFor();
  await page.getByLabel("Metadata as JSON").fill('{"title": "Final", "room": {"floor": 2}}');
  await press(page, "Save the metadata");
  await expect.poll(async () => (await api.sessions.get(session_id)).metadata).toEqual({ title: "Final", room: { floor: 2 } });
  await expectAccessible(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await press(page, "Delete the session");
  await page.getByRole("dialog").getByRole("button", { name: "Delete the session" }).click();
  await page.getByText("This session was deleted").waitFor();
});

test("a host changes the agenda after the first item has begun, and sees the change of another host", async () => {
  const item = (item_id: string) => ({ item_id, title: item_id, time_ms: 60_000 });
  const { session_id } = await createSession({
    sync_mode: "per_cycle",
    participants: [{ participant_id: ADA, display_name: "Ada" }],
    plan: ["one", "two", "three"].map(item),
  });
  await api.sessions.start(session_id);
  const page = await openEditor(session_id);
  const rows = page.locator("details form li");
  await page.getByText("one, has begun").waitFor();
  await press(page, "Later: two");
  await rows.nth(2).getByLabel("Minutes").fill("2.5");
  await press(page, "Remove: three");
  await press(page, "Add an item");
  await rows.nth(2).getByLabel("Item").fill("Close");
  await press(page, "Save the agenda");
  const planOf = async () => (await api.sessions.get(session_id)).plan?.map((each) => [each.title, each.time_ms]);
  await expect.poll(planOf).toEqual([["one", 60_000], ["two", 150_000], ["Close", 300_000]]);
  await page.locator("sync-agenda li").getByText("Close").waitFor();
  await rows.nth(1).getByLabel("Item").fill("Not saved");
  const { version } = await api.sessions.get(session_id);
  await api.sessions.setPlan(session_id, { plan: [item("one"), item("four")], expected_version: version });
  await page.getByText("The agenda has changed. Your changes are not saved.").waitFor();
  expect(await rows.count()).toBe(2);
  expect(await rows.nth(1).getByLabel("Item").inputValue()).toBe("four");
  await expectAccessible(page);
});

test("a controller cannot delete the session", async () => {
  const auth = inject("authUrl");
  const { session_id } = await connectTo(auth, { token: signToken() }).api.sessions.create({ sync_mode: "count_up", participants: [{ participant_id: ADA }] });
  const token = signToken("carol", 600, { role: "controller", grants: [{ sessions: ["*"] }] });
  const page = await open(`${auth}/control/${session_id}#token=${token}`, {});
  await page.getByText("Edit the session").click();
  await page.getByLabel("Title").waitFor();
  expect(await page.getByRole("button", { name: "Delete the session" }).count()).toBe(0);
});

test("a page says that the server limits its rate, and a page without requests does not need any", async () => {
  const { session_id } = await createSession();
  const limited = (await startServer(["serve"], { ...inject("stores"), PORT: "0", RATE_LIMIT_GENERAL: "1" })) as { url: string; stop: () => Promise<void> };
  onTestFinished(() => limited.stop());
  // The page must not get the next token before its text is read.
  const waitS = async () => Number((await fetch(`${limited.url}/v1/me`)).headers.get("Retry-After") ?? 0);
  for (const name of ["control", "desk"]) {
    await expect.poll(waitS).toBeGreaterThan(30);
    const page = await open(`${limited.url}/${name}/${session_id}`, {});
    await page.getByText(/^Too many requests from this device or its network\. Trying again in \d+ s$/).waitFor();
    await page.locator("html[data-state=limited]").waitFor();
    await expectAccessible(page);
  }
  const view = await open(`${limited.url}/view/${session_id}`, {});
  await view.locator("html[data-state=live]").waitFor();
  await view.getByText("Ada").waitFor();
});
