import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession, eventually } from "../helpers.js";
import { useChromium } from "./chromium.js";

const open = useChromium();
const server = () => inject("serverUrl");

test("components render only when what they show changes, and show the same time", async () => {
  const { session_id } = await createSession();
  const page = await open("react-game", { server: server(), session: session_id, participant: ADA });
  await page.locator("#status").getByText("pending").waitFor();
  await page.getByText("1 true -:-- connected fine").waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  await page.locator("#one").getByText(/^9:5\d$/).waitFor();
  // A press shows at once, and the clock stands still.
  await page.getByRole("button", { name: "Press" }).click();
  const { api } = connectTo(server());
  await expect.poll(async () => (await api.sessions.get(session_id)).turn_number).toBe(2);
  await api.sessions.update(session_id, { metadata: { moves: 1 } });
  const watch = connectTo(server()).watch(session_id);
  await watch.ready();
  await eventually((listener) => watch.subscribe(listener), () => watch.presence?.clients === 2);
  await page.getByText("2 true -:-- connected fine").waitFor();
  // A component that is mounted again shows the present time at once.
  await page.getByRole("button", { name: "Toggle" }).click();
  await page.getByRole("button", { name: "Toggle" }).click();
  await page.locator("#two").waitFor();
  const { renders, torn } = await page.evaluate(() => {
    const { renders, torn } = window as unknown as { renders: Record<string, unknown[]>; torn: string[] };
    return { renders, torn };
  });
  expect(torn).toEqual([]);
  // The two toggles render the parent and with it all components, once each.
  const withoutToggles = (values: unknown[] = []) => values.slice(0, -2);
  expect(withoutToggles(renders.clock)).toEqual([...new Set(renders.clock)]);
  expect(renders.clock?.slice(0, 2)).toEqual(["-:--", "10:00"]);
  expect(withoutToggles(renders.status)).toEqual([undefined, "pending", "running"]);
  expect(withoutToggles(renders.names)).toEqual(["", "Ada,Bob"]);
});

test("StrictMode keeps one subscription", async () => {
  const { session_id } = await createSession();
  const page = await open("react-game", { server: server(), session: session_id, participant: ADA, strict: "1" });
  await page.getByText("1 true -:-- connected fine").waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  await page.locator("#two").getByText(/^9:5\d$/).waitFor();
  expect(await page.evaluate(() => (window as unknown as { torn: string[] }).torn)).toEqual([]);
});

test("a session that does not exist has an error", async () => {
  const page = await open("react-game", { server: server(), session: crypto.randomUUID(), participant: "" });
  await page.getByText("SESSION_NOT_FOUND").waitFor();
});

test("a page that a server rendered hydrates without an error and continues live", async () => {
  const { session_id } = await createSession({ sync_mode: "global", total_time_ms: 600_000, participants: [] });
  await connectTo(server()).command(session_id, "start");
  const page = await open("react-hydrate", { server: server(), session: session_id });
  await page.getByText(/^9:\d\d 2$/).waitFor();
  const { errors, texts } = await page.evaluate(() => {
    const { errors, texts } = window as unknown as { errors: string[]; texts: string[] };
    return { errors, texts };
  });
  expect(errors).toEqual([]);
  // The server's text, rendered one minute earlier, and then only live times.
  expect(texts[0]).toBe("10:00 2");
  expect(texts).not.toContain("-:-- 2");
});

test("a provider with `only` gives its hooks one row, and another one after a change", async () => {
  const { session_id } = await createSession({
    sync_mode: "individual",
    total_time_ms: 600_000,
    participants: [{ participant_id: ADA, display_name: "Ada" }, { participant_id: BOB, display_name: "Bob", time_factor: 2 }],
  });
  const parameters = { server: server(), session: session_id, participant: BOB, other: ADA };
  const page = await open("react-own-clock", parameters);
  await page.locator("#names").getByText("Bob waiting", { exact: true }).waitFor();
  expect(await page.locator("#clock").textContent()).toBe("20:00");
  await connectTo(server()).api.sessions.start(session_id);
  await page.locator("#clock").getByText(/^19:5\d$/).waitFor();
  await page.getByRole("button", { name: "Hand in" }).click();
  await page.locator("#names").getByText("Bob finished", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Other" }).click();
  await page.locator("#names").getByText("Ada running", { exact: true }).waitFor();
  await page.locator("#clock").getByText(/^9:5\d$/).waitFor();
  expect(await page.locator("#error").textContent()).toBe("fine");
});
