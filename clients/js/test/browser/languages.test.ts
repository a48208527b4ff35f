// The languages of the pages of a session: which one a page has, that all its texts are from the file, and the layout.
import type { Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { useChromium } from "./chromium.js";
import { expectUsable, openServerPage } from "./server-page.js";

const open = useChromium();
const PAGES = ["view", "control", "desk", "agenda"];

const MEETING = {
  sync_mode: "per_cycle" as const,
  participants: [
    { participant_id: ADA, display_name: "Ada" },
    { participant_id: BOB, display_name: "Bob" },
  ],
  metadata: { title: "Board meeting" },
  warnings_ms: [10_000],
  plan: [
    { item_id: "one", title: "Opening", time_ms: 600_000, participant_id: ADA },
    { item_id: "two", title: "Budget", time_ms: 60_000 },
  ],
};

/** Open a page of a session. `prepare` runs before the page loads. */
async function openPage(path: string, width = 1280, prepare: (page: Page) => Promise<unknown> = async () => {}) {
  const { page } = await openServerPage((name, parameters, set) => open(name, parameters, async (each) => {
    await set?.(each);
    await prepare(each);
  }), `${inject("serverUrl")}/${path}`, { width, height: 900 });
  await page.locator("html[data-state=live]").waitFor();
  return page;
}

/** Give a page texts of a made-up language: the English ones, each form between brackets. */
const inBrackets = (page: Page) =>
  page.route("**/view/texts/*.json", async (route) => {
    const texts = (await (await route.fetch()).json()) as Record<string, string | Record<string, string>>;
    const marked = (text: string) => `⟦${text}⟧`;
    const json = Object.fromEntries(
      Object.entries(texts).map(([name, text]) => [
        name,
        typeof text === "string" ? marked(text) : Object.fromEntries(Object.entries(text).map(([form, words]) => [form, marked(words)])),
      ]),
    );
    await route.fulfill({ json });
  });

/** Return the texts of a page and its elements that people see or hear, without those between brackets. */
const textsOutside = (page: Page) =>
  page.evaluate(() => {
    const found: string[] = [document.title];
    const visit = (root: ParentNode) => {
      for (const each of root.querySelectorAll("*")) {
        for (const name of ["aria-label", "title", "placeholder", "alt"]) found.push(each.getAttribute(name) ?? "");
        const isCode = /^(SCRIPT|STYLE|NOSCRIPT|KBD)$/.test(each.tagName);
        for (const node of isCode ? [] : each.childNodes) if (node instanceof Text) found.push(node.data);
        if (each.shadowRoot) visit(each.shadowRoot);
      }
    };
    visit(document);
    const isInside = (text: string): string => {
      const without = text.replace(/⟦[^⟦⟧]*⟧/g, "");
      return without === text ? text : isInside(without); // A text can be a value of another one.
    };
    return found.map(isInside).filter((each) => /\p{L}/u.test(each));
  });

/** What is no text of a page: names of the session and the product, names of languages in themselves, units of clocks, links. */
const OWN_WORDS = /Board meeting|Opening|Budget|Ada|Bob|SyncKairos|English|Deutsch|Español|Français|Português|日本語|中文|العربية|\b[AP]M\b/g;
const foreign = async (page: Page) => (await textsOutside(page)).map((each) => each.replace(OWN_WORDS, "")).filter((each) => /\p{L}/u.test(each));

test("all texts of the pages are in the file of the language", async () => {
  const meeting = (await createSession(MEETING)).session_id;
  const game = (await createSession({ metadata: { title: "Board meeting" } })).session_id;
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(meeting);
  await api.sessions.announce(meeting, { text: "Opening", tone: "warning" });
  const control = await openPage(`control/${meeting}`, 1280, inBrackets);
  await control.getByRole("button", { name: "⟦Pause⟧", exact: true }).waitFor();
  await control.locator("#edit summary").click();
  await control.locator("#edit textarea").waitFor();
  expect(await foreign(control)).toEqual([]);
  await control.getByRole("button", { name: "⟦End and wait⟧" }).click();
  await control.getByText("⟦⟦Paused⟧: ⟦hold⟧⟧").waitFor();
  await control.getByRole("button", { name: "⟦Finish⟧", exact: true }).click();
  await control.getByRole("dialog").getByRole("button", { name: "⟦Back⟧" }).waitFor();
  expect(await foreign(control)).toEqual([]);
  for (const path of [`view/${meeting}`, `view/${game}?face=clown`, `desk/${game}?participant=${ADA}`, `desk/${game}`, `agenda/${meeting}`, `agenda/${game}`]) {
    const page = await openPage(path, 1280, inBrackets);
    await page.getByText("⟦").filter({ visible: true }).first().waitFor();
    expect(await foreign(page), path).toEqual([]);
  }
});

test.each(PAGES)("in Arabic the page /%s is laid out from right to left, and fits a phone", async (name) => {
  const { session_id } = await createSession(MEETING);
  await connectTo(inject("serverUrl")).api.sessions.start(session_id);
  const page = await openPage(`${name}/${session_id}?lang=ar`, 320);
  expect(await page.evaluate(() => [document.documentElement.lang, document.documentElement.dir])).toEqual(["ar", "rtl"]);
  if (name === "desk") await page.getByText("من أنت؟").waitFor();
  else await page.locator("sync-clock [part=time]").getByText(/^(9:5\d|10:00)$/).first().waitFor();
  await expectUsable(page, [320]);
  if (name === "agenda" || name === "view") {
    const row = page.locator("sync-agenda li").first();
    await row.getByText("الآن").waitFor();
    const [title, time] = await Promise.all(["title", "time"].map((part) => row.locator(`[part=${part}]`).boundingBox()));
    expect(title?.x ?? 0).toBeGreaterThan(time?.x ?? 0);
  }
  if (name === "control") {
    const label = page.locator(".check", { has: page.locator("#shortcuts") });
    const [box, words] = await Promise.all([label.locator("input").boundingBox(), label.locator("span").boundingBox()]);
    expect(box?.x ?? 0).toBeGreaterThan(words?.x ?? 0);
  }
});

test("in Arabic the digits of a clock below zero keep their order, with the sign before them", async () => {
  const { session_id } = await createSession({ sync_mode: "global", on_timeout: "overtime", total_time_ms: 1_000, participants: [] });
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session_id);
  await api.sessions.adjust(session_id, { delta_ms: -60_000 });
  const page = await openPage(`view/${session_id}?lang=ar`);
  await page.locator("#clock [part=time]").getByText(/^-\d:\d\d$/).waitFor();
  await page.locator("#clock [part=words]").getByText("وقت إضافي").waitFor();
  const lefts = await page.locator("#clock [part=time]").evaluate((time) => {
    const left = (node: Node, at: number) => {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      return range.getBoundingClientRect().left;
    };
    const [before, , after] = time.childNodes as unknown as [Text, Element, Text];
    return [left(before, 0), left(before, 1), left(after, 0)];
  });
  expect(lefts).toEqual([...lefts].sort((a, b) => a - b));
});

test("a page has the language of the browser, a link names another one, and an unknown one is a fault", async () => {
  const { session_id } = await createSession(MEETING);
  const japanese = (page: Page) => page.addInitScript(() => Object.defineProperty(navigator, "languages", { value: ["nl", "ja-JP"] }));
  const page = await openPage(`agenda/${session_id}`, 1280, japanese);
  await page.locator("sync-agenda").getByText("開始前").waitFor();
  const unknown = await openPage(`view/${session_id}?lang=xx`, 1280, japanese);
  await unknown.getByText("このリンクには誤りがあります：lang は en、de").waitFor();
  const host = await openPage(`control/${session_id}?lang=de`, 1280, japanese);
  await host.getByLabel("Sprache").selectOption("Français");
  await host.getByRole("button", { name: "Link erstellen" }).click();
  await host.locator("#link").click();
  await host.locator("html[lang=fr] #clock").getByText("pas commencé").waitFor();
});

test("a page whose texts cannot be loaded tries again", async () => {
  const { session_id } = await createSession();
  let requests = 0;
  const page = await open(`${inject("serverUrl")}/view/${session_id}`, {}, async (each) => {
    await each.clock.install();
    await each.route("**/view/texts/*.json", (route) => ((requests += 1) === 1 ? route.fulfill({ status: 503 }) : route.continue()));
  });
  await expect.poll(async () => {
    await page.clock.fastForward(2_000);
    return requests;
  }).toBe(2);
  await page.getByText("not started").first().waitFor();
});
