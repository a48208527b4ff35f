// The page /console: what an operator sees and does. Each action is a request, which the page also shows
// as a command.

import { currentToken, forgetSessions, forgetToken, hasToken } from "../demo/credential.js";
import { hasCredentialInFragment, takeCredentialFromFragment } from "../demo/link_credential.js";
import { describeCaller, endSessionToken } from "../demo/rest.js";
import { hideSignIn, setUpSignIn, showCaller, showSignIn } from "../demo/sign_in.js";
import { $, button, element } from "../view/dom.js";
import { onRequests } from "./requests.js";
import { LISTS, mayOpen } from "./sections.js";

const FORBIDDEN = 403;
const UNAUTHORIZED = 401;

const page = document.documentElement;
let caller = null; // The answer of GET /v1/me. Null before this answer. An operator has only a role.
let shown = 0; // Number of sections that were shown. Only the newest one is filled.
let close = () => {}; // Ends what the shown section keeps open.

setUpSignIn(begin, signOut);
onRequests(showRequests);
addEventListener("hashchange", () => {
  if (hasCredentialInFragment()) begin();
  else if (caller) showSection();
});
begin();

/** Read the role of the caller, and show the sections that this role may open. */
async function begin() {
  page.dataset.state = "loading";
  $("fault").textContent = "";
  const refusal = await takeCredentialFromFragment();
  if (refusal) return end(refusal.status === UNAUTHORIZED ? "The link is not valid, or it was used up" : refusal.message);
  try {
    caller = await describeCaller();
  } catch (error) {
    if (error.status === UNAUTHORIZED) return end(hasToken() ? error.message : "");
    // The key of an operator opens tenants and metrics. GET /v1/me is only for callers of a tenant.
    if (error.status === FORBIDDEN) caller = { role: "operator", kind: "operator", subject: "Operator" };
    else {
      page.dataset.state = "failed";
      $("fault").textContent = error.message;
      return;
    }
  }
  hideSignIn();
  showCaller(caller);
  showNavigation();
  $("requests").hidden = $("sections").hidden = $("section").hidden = false;
  page.dataset.state = "live";
  showSection();
}

/** Show the sign-in form in place of everything else. An empty reason shows none. */
function end(reason) {
  close();
  close = () => {};
  shown += 1;
  caller = null;
  showCaller(null);
  $("section").replaceChildren();
  $("requests").hidden = $("sections").hidden = $("section").hidden = true;
  page.dataset.state = "ended";
  showSignIn(reason);
}

async function signOut() {
  if (currentToken() !== null) await endSessionToken();
  forgetToken();
  forgetSessions();
  end("");
}

/** Return the sections that the caller may open: the figures, and the lists that belong to no entry of another list. */
function sectionsOfCaller() {
  const lists = LISTS.filter((each) => !each.parent && mayOpen(caller, each.needs));
  const hasFigures = caller.role === "admin" || caller.role === "operator";
  return [...lists, ...(hasFigures ? [{ id: "figures", title: "Figures" }] : [])];
}

function showNavigation() {
  $("sections").replaceChildren(...sectionsOfCaller().map(({ id, title }) => element("a", { href: `#${id}`, textContent: title })));
}

/**
 * Show the section that the fragment of the address names. If the caller may not open it, show the first section instead.
 * The code of a section is loaded with the section, because the client that a session needs is large.
 */
async function showSection() {
  const number = (shown += 1);
  close();
  close = () => {};
  report(null);
  const own = sectionsOfCaller();
  const [name, parameter] = location.hash.slice(1).split("/");
  const list = LISTS.find((each) => each.id === name && mayOpen(caller, each.needs) && Boolean(each.parent) === Boolean(parameter));
  const isSession = name === "session" && parameter && caller.role !== "operator";
  const isFigures = name === "figures" && own.some(({ id }) => id === name);
  if (!list && !isSession && !isFigures) return location.replace(`#${own[0].id}`);
  const current = isSession ? own[0].id : (list?.parent ?? name);
  for (const link of $("sections").children) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = isSession ? "Session" : isFigures ? "Figures" : list.title;
  const root = $("section");
  root.replaceChildren(element("h2", { id: "section-title", textContent: title, tabIndex: -1 }));
  for (const each of Object.keys(root.dataset)) delete root.dataset[each];
  document.title = `${title} · Console`;
  root.dataset.state = "loading";
  const module = await (isSession ? import("./session_section.js") : isFigures ? import("./figures.js") : import("./list_section.js"));
  if (number !== shown) return;
  if (isSession) close = module.showSessionSection(root, parameter, caller, report);
  else if (isFigures) close = module.showFigures(root, report);
  else close = module.showList(root, list, parameter, report);
}

/** Show why a request failed, nothing for null. After 401 the page shows the sign-in form. */
function report(error) {
  if (error?.status === UNAUTHORIZED && !location.hash.startsWith("#figures")) return end(error.message);
  $("fault").textContent = error?.message ?? "";
}

function showRequests(texts) {
  $("request-list").replaceChildren(
    ...texts.map((text) => {
      const code = element("code", { textContent: text });
      const copy = button("Copy", () => copyText(copy, code), { "aria-label": `Copy: ${text}` });
      return element("li", {}, code, copy);
    }),
  );
}

/**
 * Copy the text of the element `source`, and change the text of the button `from` to “Copied”. Without HTTPS a page cannot use
 * the clipboard, so the text is selected instead.
 */
async function copyText(from, source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    from.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
  }
}
