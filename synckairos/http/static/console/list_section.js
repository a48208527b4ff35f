// One list of the console: filters, a form for a new entry, and a table with the actions on each entry.

import { button, confirmStep, element, field } from "../view/dom.js";
import { request, withQuery } from "./requests.js";

const LIMIT = 50;
const REFRESH_MS = 2_000;

/**
 * Show a list in `root`. `spec` is one of `LISTS`, `parameter` the id after the slash of the address, if the list belongs
 * to one entry of another list. `report(error)` shows why a request failed. Return a function that ends the list: answers that
 * come later then change nothing.
 */
export function showList(root, spec, parameter, report) {
  const path = typeof spec.path === "function" ? spec.path(parameter) : spec.path;
  const filters = (spec.filters ?? []).map((each) => ({ ...each, input: null }));
  const secret = element("p", { role: "status", hidden: true });
  const note = element("p", { role: "status" });
  const body = element("tbody");
  const more = button("Load more", () => load(cursor), { hidden: true });
  const hasActions = spec.actions !== undefined;
  const titles = [...spec.columns.map(([title]) => title), ...(hasActions ? ["Actions"] : [])];
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col", textContent: title })));
  const table = element("div", { className: "table", tabIndex: 0, role: "region", "aria-label": `Entries: ${spec.title}`, hidden: true }, element("table", {}, element("thead", {}, head), body));
  let entries = [];
  let cursor = null;
  let loads = 0; // Only the newest load shows its entries.
  let timer = null;
  let isClosed = false;

  root.append(filterForm(), ...(spec.create ? [createForm()] : []), secret, note, table, element("p", {}, more));
  load(null);
  return () => {
    isClosed = true;
    loads += 1; // A running load does not show its entries any more.
    clearTimeout(timer);
  };

  /** Load the first page, or the page that `from` begins. */
  async function load(from) {
    const own = (loads += 1);
    clearTimeout(timer);
    setState("loading", "Loading");
    const given = Object.fromEntries(filters.filter((each) => !each.isLocal).map(({ name, input }) => [name, input.value.trim()]));
    try {
      const page = await request("GET", withQuery(path, { ...given, limit: spec.id === "webhooks" ? "" : LIMIT, cursor: from ?? "" }));
      if (own !== loads) return;
      entries = from === null ? page.data : [...entries, ...page.data];
      cursor = page.next_cursor ?? null;
      more.hidden = cursor === null;
      showRows();
      refreshLater(own, given);
    } catch (error) {
      if (own !== loads) return;
      table.hidden = more.hidden = true;
      setState(error.status === 403 ? "forbidden" : error.status === 429 ? "limited" : "failed", "");
      report(error);
    }
  }

  /** Read the first page again after some seconds while its entries change by themselves. Rows are only replaced by others. */
  function refreshLater(own, given) {
    if (!spec.isLive?.(entries) || entries.length > LIMIT) return;
    timer = setTimeout(async () => {
      try {
        const page = await request("GET", withQuery(path, { ...given, limit: LIMIT }));
        if (own !== loads) return;
        const isChanged = JSON.stringify(page.data) !== JSON.stringify(entries);
        entries = page.data;
        if (isChanged) showRows();
        refreshLater(own, given);
      } catch (error) {
        if (own === loads) report(error);
      }
    }, REFRESH_MS);
  }

  function showRows() {
    const text = filters.find(({ isLocal }) => isLocal)?.input.value.trim().toLowerCase() ?? "";
    const shown = entries.filter((each) => JSON.stringify(each).toLowerCase().includes(text));
    body.replaceChildren(...shown.map(rowOf));
    table.hidden = shown.length === 0;
    setState(shown.length ? "live" : "empty", shown.length ? "" : "There are no entries.");
  }

  function rowOf(entry) {
    const cells = spec.columns.map(([title, read, isBusy], at) => {
      const text = String(read(entry) ?? "");
      if (at === 0 && spec.link) return element("td", { "data-title": title }, element("a", { href: `#${spec.link(entry)}`, textContent: text }));
      const cell = element("td", { "data-title": title, textContent: text });
      if (isBusy?.(entry)) cell.append(" ", element("progress", { "aria-label": `${title}: not ended` }));
      return cell;
    });
    if (hasActions) cells.push(element("td", { className: "actions", "data-title": "Actions" }, ...spec.actions(entry, parameter).map((action) => actionButton(action, cells[0].textContent))));
    return element("tr", {}, ...cells);
  }

  function actionButton(action, about) {
    const more = { "aria-label": `${action.label}: ${about}`, className: action.isFinal ? "destructive" : "" };
    return button(action.label, () => act(action, about), more);
  }

  /** Send the request of an action or of a form, then load the list again. Return whether it succeeded. */
  async function act({ label, method, path: target, body: given, isFinal, shows }, about) {
    if (isFinal && !(await confirmStep(label, about))) return false;
    report(null);
    secret.hidden = true;
    try {
      const answer = await request(method, target, given);
      if (isClosed) return true;
      if (shows) showSecret(answer.data[shows]);
    } catch (error) {
      if (!isClosed) report(error);
      return false;
    }
    await load(null);
    return true;
  }

  /** Show a secret. The server returns it one time. */
  function showSecret(text) {
    secret.replaceChildren("This text is shown one time. ", element("code", { textContent: text }));
    secret.hidden = false;
  }

  function filterForm() {
    for (const each of filters) {
      const { name, label, options, isLocal } = each;
      each.label = field({ label, options, ...(isLocal ? { oninput: showRows } : options ? { onchange: () => load(null) } : {}) });
      each.input = each.label.lastElementChild;
      each.name = name;
    }
    const again = element("button", { textContent: "Load" });
    const form = element("form", { className: "bar" }, ...filters.map(({ label }) => label), again);
    form.onsubmit = (event) => {
      event.preventDefault();
      report(null);
      load(null);
    };
    return form;
  }

  function createForm() {
    const { label, fields, method = "POST", path: target = path, body: build, shows, isFinal } = spec.create;
    const inputs = fields.map(({ name, ...each }) => ({ name, label: field(each) }));
    const form = element("form", { className: "bar" }, ...inputs.map((each) => each.label), element("button", { textContent: label }));
    form.onsubmit = async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(inputs.map((each) => [each.name, each.label.lastElementChild.value.trim()]));
      if (await act({ label, method, path: target, body: build(values), shows, isFinal }, values.value ?? "")) form.reset();
    };
    if (fields.length === 0) return form;
    return element("details", {}, element("summary", { textContent: label }), form);
  }

  function setState(state, text) {
    root.dataset.state = state;
    note.textContent = text;
    note.hidden = text === "";
  }
}
