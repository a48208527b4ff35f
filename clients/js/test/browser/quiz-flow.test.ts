// A quiz with four phones, a wall and a host who ends a question early, shows the answer and goes on, all by links. The
// pictures of the guide docs/guides/quiz.md are made here: SYNCKAIROS_WRITE_IMAGES=1 npx vitest run test/browser/quiz-flow.test.ts
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { connectTo } from "../helpers.js";
import { signToken } from "../tokens.js";
import { expectAccessible, useChromium } from "./chromium.js";
import { takePicture } from "./pictures.js";

const NAMES = ["Ada", "Ben", "Chloé", "Dai"];
const idOf = (at: number) => `0198c0de-0000-7000-8000-00000000000${at + 1}`;

const open = useChromium();

test("a host runs a quiz with four phones", async () => {
  const server = inject("authUrl");
  const { api } = connectTo(server, { token: signToken() });
  const { session_id } = await api.sessions.create({
    sync_mode: "per_cycle",
    between_turns: "hold",
    close_when_all_done: true,
    metadata: { title: "Pub quiz" },
    participants: NAMES.map((name, at) => ({ participant_id: idOf(at), display_name: name })),
    plan: [
      { item_id: "q1", title: "Capital of Peru?", time_ms: 600_000 },
      { item_id: "q2", title: "7 times 8?", time_ms: 600_000 },
    ],
  });
  const sized = (width: number, height: number) => (page: Page) => page.setViewportSize({ width, height });
  const linkOf = async (role: "viewer" | "controller") => (await api.links.create({ session_id, role })).url as string;
  const host = await open(await linkOf("controller"), {}, sized(1280, 1000));
  const wall = await open(await linkOf("viewer"), {}, sized(1280, 720));
  const press = (name: string) => host.getByRole("button", { name, exact: true }).click();

  const phones: Page[] = [];
  for (const name of NAMES) {
    await host.getByLabel("Link for").selectOption(name);
    await press("Make the link");
    const link = host.getByRole("link", { name: "#link=" });
    phones.push(await open((await link.getAttribute("href")) as string, {}, sized(360, 640)));
    await phones.at(-1)?.getByRole("heading", { name }).waitFor();
  }
  const onPhone = (at: number, name: string) => (phones[at] as Page).getByRole("button", { name, exact: true });
  for (const name of NAMES) await host.getByText(`${name}, connected`).waitFor();

  // The first question: two have answered when the host ends it.
  await press("Start");
  await wall.locator("#name").getByText("Capital of Peru?", { exact: true }).waitFor();
  await (phones[1] as Page).getByText("Capital of Peru?").waitFor();
  await (phones[1] as Page).locator("sync-clock [part=time]").getByText(/^9:5\d$/).waitFor();
  await onPhone(0, "Done").click();
  await onPhone(0, "Done. Wait for the others").waitFor();
  await onPhone(2, "Done").click();
  await host.getByRole("button", { name: "Done: Chloé" }).waitFor();
  await takePicture(host, "quiz-host");
  await takePicture(phones[1] as Page, "quiz-phone");
  await press("End item");
  await onPhone(1, "Wait for the next").waitFor();

  // The answer.
  await wall.locator("#name").getByText("Next: 7 times 8?").waitFor();
  await host.getByLabel("Text").fill("It is Lima");
  await press("Announce");
  for (const page of [wall, ...phones]) await page.getByRole("alert").getByText("It is Lima").waitFor();
  await takePicture(wall, "quiz-wall");
  await expectAccessible(wall);

  // The second question ends when all have answered, and the quiz with it.
  await press("Remove");
  await press("Begin next item");
  await wall.locator("#name").getByText("7 times 8?", { exact: true }).waitFor();
  await wall.locator("#announcement").waitFor({ state: "hidden" });
  for (const at of NAMES.keys()) await onPhone(at, "Done").click();
  await onPhone(3, "Finished").waitFor();
  await host.locator("html[data-status=completed]").waitFor();

  const events = await api.sessions.events(session_id);
  const actors = new Set(events.data.flatMap(({ event_type: type, actor }) => (type === "participant_done" ? [actor] : [])));
  expect(actors.size).toBe(4);
  expect(events.data.map(({ event_type: type }) => type)).toEqual([
    "session_created",
    "session_started",
    "participant_done",
    "participant_done",
    "cycle_switched",
    "announcement_updated",
    "announcement_updated",
    "session_resumed",
    "participant_done",
    "participant_done",
    "participant_done",
    "participant_done",
    "session_completed",
  ]);
});
