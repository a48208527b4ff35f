// The buttons of the documentation: copy, tabs of languages, and the search. The pages can be read without this script.

import { addCopyButton } from "./copy.js";
import { prepareSearch } from "./search.js";

const LANGUAGE_KEY = "synckairos-docs-language";

for (const group of document.querySelectorAll(".tabs")) prepareTabs(group);
for (const pre of document.querySelectorAll("main pre")) addCopyButton(pre);
prepareSearch();

// -- tabs -------------------------------------------------------------------------------------------------------------

/** Turn the code blocks of a group into tabs. The chosen language is that of all groups, also of other pages. */
function prepareTabs(group) {
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Language of the example");
  const panels = [...group.children];
  panels.forEach((panel, at) => {
    const name = panel.dataset.tab;
    panel.id = `tab-${[...document.querySelectorAll(".tabs")].indexOf(group)}-${at}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-label", name);
    const tab = document.createElement("button");
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    tab.textContent = name;
    tab.onclick = () => chooseLanguage(name);
    list.append(tab);
  });
  list.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const tabs = [...list.children];
    const next = tabs.at((tabs.indexOf(document.activeElement) + step) % tabs.length);
    next.focus();
    next.click();
  };
  group.prepend(list);
  showLanguage(group, storedLanguage());
}

function chooseLanguage(name) {
  try {
    localStorage.setItem(LANGUAGE_KEY, name);
  } catch {
    // Without the storage, the choice ends with the page.
  }
  for (const group of document.querySelectorAll(".tabs")) showLanguage(group, name);
}

/** Show the tab of a language in a group. A group without this language keeps its tab, at first its first one. */
function showLanguage(group, name) {
  const tabs = [...group.querySelectorAll('[role="tab"]')];
  const chosen = tabs.find((tab) => tab.textContent === name) ?? tabs.find((tab) => tab.ariaSelected === "true") ?? tabs[0];
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
}

function storedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}
