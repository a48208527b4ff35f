import { expect, inject, test } from "vitest";
import type { SyncKairosClient, Watch } from "../../src/index.js";
import { ADA, BOB, connectTo, createSession, proxyTo } from "../helpers.js";
import { useChromium } from "./chromium.js";

interface Recorded {
  client: SyncKairosClient;
  watch: Watch;
  frames: string[];
}

const open = useChromium();

test("a page in a network without WebSockets watches, presses and resumes over an event stream", async () => {
  const { session_id } = await createSession();
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session_id);
  const proxy = await proxyTo();
  proxy.blockUpgrades(true);
  const page = await open("watching", { server: proxy.url, session: session_id, participant: ADA });
  const shows = (id: string, text: string | RegExp) => page.locator(`#${id}`).filter({ hasText: text }).waitFor();
  const transport = () => page.evaluate(() => (window as unknown as Recorded).client.transport);
  await shows("text", /^(10:00|9:5\d)$/);
  expect([await transport(), proxy.refusedUpgrades]).toEqual(["event-stream", 2]);
  await page.evaluate(() => void (window as unknown as Recorded).watch.command("switch"));
  await shows("version", `3 ${BOB}`);
  expect((await api.sessions.get(session_id)).turn_number).toBe(2);
  proxy.refuse(true);
  proxy.drop();
  await shows("status", "reconnecting");
  await api.sessions.switch(session_id, {});
  proxy.refuse(false);
  await shows("version", `4 ${ADA}`);
  const frames = await page.evaluate(() => (window as unknown as Recorded).frames);
  expect(frames).toContain("STATE_DELTA true");
});
