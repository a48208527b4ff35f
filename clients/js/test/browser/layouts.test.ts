// The layout of the pages of a session in each of their states, from a phone to 4K, and their colours.
import type { Page } from "playwright-core";
import { inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession, proxyTo } from "../helpers.js";
import { signToken } from "../tokens.js";
import { useChromium } from "./chromium.js";
import { expectLayouts, readColors, readLayout, type Layouts } from "./layouts.js";
import { WIDTHS } from "./server-page.js";

const open = useChromium();

const PLAN = {
  sync_mode: "per_cycle" as const,
  participants: [{ participant_id: ADA, display_name: "Ada" }],
  metadata: { title: "Board meeting" },
  plan: [
    { item_id: "one", title: "Opening", time_ms: 60_000 },
    { item_id: "two", title: "Budget", time_ms: 60_000 },
  ],
};

/** The colours that a user can ask for. Chromium has one set of colours for forced colours. */
const SCHEMES = {
  light: { colorScheme: "light", forcedColors: "none" },
  dark: { colorScheme: "dark", forcedColors: "none" },
  forced: { colorScheme: "light", forcedColors: "active" },
} as const;

interface State {
  name: string;
  url: string;
  /** A selector or a text that is there when the page is in this state. */
  ready: (page: Page) => Promise<unknown>;
  /** Runs before the page loads. */
  prepare?: (page: Page) => Promise<unknown>;
  /** Whether the state needs a page of its own, because its preparation cannot be undone. */
  isAlone?: boolean;
  hasColors?: boolean;
}

const says = (text: string | RegExp) => (page: Page) => page.getByText(text).filter({ visible: true }).first().waitFor();
const noAnswer = (page: Page) => page.routeWebSocket(/./, () => {});
const limited = (page: Page) => page.route("**/v1/me?*", (route) => route.fulfill({ status: 429, headers: { "Retry-After": "3600" }, json: {} }));

/** Create the sessions, and return all states of all pages. */
async function allStates(): Promise<State[]> {
  const [server, auth] = [inject("serverUrl"), inject("authUrl")];
  const { api } = connectTo(server);
  const [game, meeting, empty, ended, unreached] = (
    await Promise.all([
      createSession({ metadata: { title: "Club final" } }),
      createSession(PLAN),
      createSession({ sync_mode: "global", total_time_ms: 3_600_000, participants: [] }),
      createSession(),
      createSession(),
    ])
  ).map(({ session_id: id }) => id) as [string, string, string, string, string];
  await api.sessions.cancel(ended);
  const own = await connectTo(auth, { token: signToken() }).api.sessions.create({
    sync_mode: "per_participant",
    participants: [{ participant_id: ADA, total_time_ms: 60_000 }, { participant_id: BOB, total_time_ms: 60_000 }],
  });
  const viewer = `#token=${signToken("carol", 600, { grants: [{ sessions: ["*"] }], role: "viewer" })}`;
  const onServer = (path: string) => `${server}/${path}`;
  const proxy = await proxyTo();
  const reachable = async () => proxy.refuse(false);
  const lost = async (page: Page) => {
    await page.locator("html[data-state=live]").waitFor();
    proxy.refuse(true);
    proxy.drop();
    await page.locator("html[data-state=lost]").waitFor();
  };
  const start = (page: Page) => page.getByRole("button", { name: "Start", exact: true }).waitFor();
  const connected = async (page: Page) => Promise.all([start(page), says("1 device is connected, this one included.")(page)]);
  return [
    { name: "view, loading", url: onServer(`view/${game}`), prepare: noAnswer, isAlone: true, ready: says("Connecting") },
    { name: "view, not started", url: onServer(`view/${game}`), ready: says("not started"), hasColors: true },
    { name: "view, without participants", url: onServer(`view/${empty}`), ready: says("not started") },
    { name: "view, agenda", url: onServer(`view/${meeting}`), ready: says("Opening") },
    { name: "view, no connection", url: `${proxy.url}/view/${game}`, prepare: reachable, ready: lost },
    { name: "view, ended", url: onServer(`view/${ended}`), ready: says("cancelled") },
    { name: "view, no session", url: onServer("view/00000000-0000-7000-8000-000000000000"), ready: says("There is no such session") },
    { name: "view, without a token", url: `${auth}/view/${own.session_id}`, ready: says("This page needs a link with a token") },
    { name: "control, loading", url: onServer(`control/${game}`), prepare: noAnswer, isAlone: true, ready: says("Connecting") },
    { name: "control, game", url: onServer(`control/${game}`), ready: connected, hasColors: true },
    { name: "control, agenda", url: onServer(`control/${meeting}`), ready: connected },
    { name: "control, without participants", url: onServer(`control/${empty}`), ready: connected },
    { name: "control, limited", url: onServer(`control/${game}`), prepare: limited, ready: says("Too many requests") },
    { name: "control, no connection", url: `${proxy.url}/control/${unreached}`, prepare: reachable, ready: async (page) => (await connected(page), lost(page)) },
    { name: "control, ended", url: onServer(`control/${ended}`), ready: (page) => Promise.all([says("Cancelled")(page), connected(page)]) },
    { name: "control, not allowed", url: `${auth}/control/${own.session_id}${viewer}`, ready: says("Open the view") },
    { name: "desk, one participant", url: onServer(`desk/${game}?participant=${ADA}`), ready: says("Not started"), hasColors: true },
    { name: "desk, two participants", url: onServer(`desk/${game}?participant=${ADA}&opposite=${BOB}`), ready: says("Not started") },
    { name: "desk, without a participant", url: onServer(`desk/${game}`), ready: says("Who are you?") },
    { name: "desk, limited", url: onServer(`desk/${game}?participant=${ADA}`), prepare: limited, ready: says("Too many requests") },
    { name: "desk, ended", url: onServer(`desk/${ended}?participant=${ADA}`), ready: says("Cancelled") },
    { name: "desk, not allowed", url: `${auth}/desk/${own.session_id}${viewer}`, ready: says("This link does not allow") },
    { name: "agenda, not started", url: onServer(`agenda/${meeting}?lang=de`), ready: says("nicht begonnen"), hasColors: true },
    { name: "agenda, none", url: onServer(`agenda/${game}`), ready: says("This session has no agenda") },
  ];
}

test("the pages have their layouts in each state, and their colours", async () => {
  const layouts: Layouts = {};
  const openBlank = async () => {
    const page = await open("about:blank", {});
    await page.emulateMedia(SCHEMES.light);
    return page;
  };
  const shared = await openBlank();
  const read = async (page: Page, { name, hasColors = false }: State) => {
    for (const width of WIDTHS) layouts[`${name}, ${width}`] = await readLayout(page, width);
    if (!hasColors) return;
    for (const [scheme, media] of Object.entries(SCHEMES)) {
      await page.emulateMedia(media);
      layouts[`${name}, ${scheme} colours`] = await readColors(page);
    }
    await page.emulateMedia(SCHEMES.light);
  };
  for (const state of await allStates()) {
    const page = state.isAlone ? await openBlank() : shared;
    await state.prepare?.(page);
    await page.goto(state.url);
    await state.ready(page);
    await read(page, state);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.goto("about:blank"); // The next address can differ in its fragment alone, which loads no page.
  }
  expectLayouts(layouts);
});
