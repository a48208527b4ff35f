// One session of the console: its state at each instant, its events, the connected devices and the webhooks that were sent.

import { currentToken } from "../demo/credential.js";
import { connect } from "../demo/sdk.js";
import { button, confirmStep, element } from "../view/dom.js";
import { request, withQuery } from "./requests.js";

const EVENTS_LIMIT = 100;
const REPLAY_STEP_MS = 500;
const DELIVERIES_LIMIT = 100;
const HOSTS = new Set(["controller", "admin"]); // Roles that read events.
const FINAL = new Set(["expired", "completed", "cancelled"]);

/** Show the session `id` in `root`. Return a function that ends its connection. `report(error)` shows a failed request. */
export function showSessionSection(root, id, caller, report) {
  const isAdmin = caller.role === "admin"; // Below this role, the rights on the session decide.
  const path = `v1/sessions/${id}`;
  const token = currentToken();
  const client = connect(new URL("..", import.meta.url).href, token === null ? {} : { token });
  const watch = client.watch(id);
  const facts = element("dl");
  const links = element("p", { className: "bar" });
  const instant = element("input", { type: "range", min: "0", step: "any", "aria-label": "Instant" });
  const at = element("p", { role: "status" });
  const state = element("pre", { tabIndex: 0, role: "region", "aria-label": "State as JSON" });
  const events = element("ol", { id: "events", tabIndex: 0, "aria-label": "Events" });
  const more = button("Load more events", () => loadEvents(), { hidden: true });
  const replay = button("Replay", toggleReplay);
  const deliveries = element("ol", { "aria-label": "Webhooks" });
  let rows = []; // The events that are loaded, the oldest first: `{atMs, button}`.
  let cursor = null;
  let loads = 0; // Only the newest load of events shows them.
  let followsNewest = true; // Whether the page shows the newest state, also after a change.
  let isReplaying = false;
  let isReading = false; // Whether the state at an earlier instant is being read.
  let isClosed = false;

  for (const name of ["control", "view"]) {
    links.append(element("a", { href: new URL(`../${name}/${id}`, import.meta.url).href, textContent: name === "view" ? "Open the view" : "Open the control page" }));
  }
  if (isAdmin) links.append(button("Delete the session", remove, { className: "destructive" }));
  const time = element("div", {}, element("h3", { textContent: "State" }), instant, element("p", { className: "bar" }, replay, button("Newest state", showNewest)), at, state);
  const past = element("div", {}, element("h3", { textContent: "Events" }), events, element("p", {}, more));
  const sent = element("div", {}, element("h3", { textContent: "Webhooks" }), button("Read the newest deliveries", loadDeliveries), deliveries);
  past.hidden = replay.hidden = true;
  root.append(facts, links, element("div", { className: "parts" }, time, past, ...(isAdmin ? [sent] : [])));
  root.dataset.state = "loading";
  instant.oninput = () => {
    stopReplay();
    followsNewest = Number(instant.value) >= Number(instant.max);
    if (followsNewest) showNewest();
    else showPast();
  };
  begin();
  return close;

  async function begin() {
    try {
      await request("GET", path); // The connection has the same state. The request is here to be copied.
      const { data } = await request("GET", withQuery("v1/me", { session_id: id }));
      if (isClosed) return;
      past.hidden = replay.hidden = !HOSTS.has(data.session_role);
      watch.subscribe(showSession);
      showSession();
      if (!past.hidden) await loadEvents();
    } catch (error) {
      if (isClosed) return;
      root.dataset.state = error.status === 404 ? "empty" : "failed";
      report(error);
    }
  }

  function close() {
    isClosed = true;
    stopReplay();
    client.close();
  }

  function showSession() {
    const session = watch.state;
    if (isClosed) return;
    if (watch.error) report(watch.error);
    if (!session) return;
    const beginMs = Date.parse(session.created_at);
    const isFinal = FINAL.has(session.status);
    const endMs = Math.max(Date.parse(session.updated_at), isFinal ? 0 : (client.now() ?? Date.now()));
    instant.max = String(Math.max(1, Math.ceil(endMs - beginMs)));
    root.dataset.state = "live";
    root.dataset.status = session.status;
    if (followsNewest) showNewest();
    showFacts(session);
    if (!past.hidden && rows.length && cursor === null && session.version > rows.at(-1).version) loadEvents(rows.length);
  }

  function showFacts(session) {
    const { clients = 0, participants = [] } = watch.presence ?? {};
    const names = session.participants.filter((each) => participants.includes(each.participant_id)).map((each) => each.display_name ?? each.participant_id);
    const values = {
      Id: id,
      Title: session.metadata?.title ?? "",
      Mode: session.sync_mode,
      Status: session.status,
      Version: session.version,
      Labels: Object.entries(session.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" "),
      Created: session.created_at,
      Connected: [`${clients} device${clients === 1 ? "" : "s"}, this page included`, ...names].join(", "),
    };
    facts.replaceChildren(
      ...Object.entries(values).filter(([, value]) => value !== "").flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: String(value) })]),
    );
  }

  function showNewest() {
    stopReplay();
    followsNewest = true;
    instant.value = instant.max;
    if (watch.state) showState(watch.state, "The newest state");
    if (watch.state) markVersion(watch.state.version);
  }

  function showState(session, text) {
    at.textContent = text;
    state.textContent = JSON.stringify(session, null, 2);
  }

  /**
   * Show the state at the instant of the slider, by `?at=`. One request at a time: while the user moves the slider, only the
   * newest instant is read after each answer.
   */
  async function showPast() {
    if (isReading) return;
    isReading = true;
    let value = null;
    while (!followsNewest && !isClosed && instant.value !== value) {
      value = instant.value;
      await readPast(value);
    }
    isReading = false;
  }

  async function readPast(value) {
    const atMs = Math.round(Date.parse(watch.state.created_at) + Number(value));
    const isCurrent = () => !followsNewest && instant.value === value;
    try {
      const { data } = await request("GET", withQuery(path, { at: atMs }));
      if (!isCurrent()) return;
      showState(data, `Version ${data.version} at ${new Date(atMs).toISOString()}`);
      markVersion(data.version);
    } catch (error) {
      if (isCurrent()) at.textContent = error.message;
    }
  }

  // -- events ---------------------------------------------------------------------------------------------------------

  /** Load the events after the cursor. Without a cursor, load them from the first one on, more than `count` if there are more. */
  async function loadEvents(count = 0) {
    const loaded = cursor === null ? [] : [...rows];
    const own = (loads += 1);
    let next = cursor;
    try {
      do {
        const page = await request("GET", withQuery(`${path}/events`, { limit: EVENTS_LIMIT, cursor: next ?? "" }));
        if (own !== loads || isClosed) return;
        loaded.push(...page.data.map(rowOf));
        next = page.next_cursor;
      } while (next !== null && loaded.length <= count);
    } catch (error) {
      if (own === loads && !isClosed) events.replaceChildren(element("li", { textContent: error.message }));
      return;
    }
    rows = loaded;
    cursor = next;
    more.hidden = cursor === null;
    events.replaceChildren(...rows.map((each) => element("li", {}, each.button)));
    if (followsNewest && watch.state) markVersion(watch.state.version);
  }

  function rowOf(event) {
    const atMs = Date.parse(event.occurred_at);
    const text = `${event.version} · ${event.event_type} · ${event.occurred_at}${event.actor ? ` · ${event.actor}` : ""}`;
    const row = { atMs, version: event.version };
    row.button = button(text, () => {
      stopReplay();
      goTo(row);
    });
    return row;
  }

  /** Show the state right after an event. */
  function goTo(row) {
    followsNewest = false;
    instant.value = String(row.atMs - Date.parse(watch.state.created_at));
    return showPast();
  }

  /** Mark the event that led to a version. Mark none if this event is not loaded yet. */
  function markVersion(version) {
    const row = rows.findLast((each) => each.version <= version);
    const isAfterLoaded = cursor !== null && row === rows.at(-1) && row?.version < version;
    mark(isAfterLoaded ? undefined : row);
  }

  function mark(row) {
    for (const each of rows) {
      if (each === row) each.button.setAttribute("aria-current", "true");
      else each.button.removeAttribute("aria-current");
    }
    if (isReplaying) row?.button.scrollIntoView({ block: "nearest" });
  }

  // -- replay ---------------------------------------------------------------------------------------------------------

  async function toggleReplay() {
    if (isReplaying) return stopReplay();
    isReplaying = true;
    replay.textContent = "Stop";
    for (const row of rows) {
      await goTo(row);
      await new Promise((resolve) => setTimeout(resolve, REPLAY_STEP_MS));
      if (!isReplaying) return;
    }
    showNewest();
  }

  function stopReplay() {
    isReplaying = false;
    replay.textContent = "Replay";
  }

  // -- webhooks and deletion ------------------------------------------------------------------------------------------

  /** Show what the newest deliveries of each endpoint sent about this session. */
  async function loadDeliveries() {
    report(null);
    try {
      const { data: webhooks } = await request("GET", "v1/webhooks");
      const found = [];
      for (const { webhook_id: webhook, url } of webhooks) {
        const { data } = await request("GET", withQuery(`v1/webhooks/${webhook}/deliveries`, { limit: DELIVERIES_LIMIT }));
        found.push(...data.filter((each) => each.session_id === id).map((each) => `${each.version ?? ""} ${each.event_type}: ${each.status}, ${url}`));
      }
      if (isClosed) return;
      const texts = found.length ? found : ["The newest deliveries have no message about this session."];
      deliveries.replaceChildren(...texts.map((textContent) => element("li", { textContent })));
    } catch (error) {
      if (!isClosed) report(error);
    }
  }

  async function remove() {
    if (!(await confirmStep("Delete the session", "Its audit trail stays."))) return;
    report(null);
    try {
      await request("DELETE", path);
      location.hash = "sessions";
    } catch (error) {
      report(error);
    }
  }
}
