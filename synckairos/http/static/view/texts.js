// The texts of a page in its language. A module that imports this one runs when the texts are loaded.

import { fillText, setElementTexts } from "../demo/sdk.js";
import { chooseLanguage, LANGUAGES } from "./languages.js";

const RETRY_MS = 2_000;

// A page that has only one language names it.
const wanted = document.documentElement.dataset.language ?? new URLSearchParams(location.search).get("lang");
const { language, locale, direction, isUnknown } = chooseLanguage(wanted, navigator.languages);
document.documentElement.lang = language;
document.documentElement.dir = direction;
const texts = await load(new URL(`texts/${language}.json`, import.meta.url));
setElementTexts(locale, texts);
for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));

/** Return the text with a name. The numbers of its values are written as the language writes them. */
export function text(name, values = {}) {
  return fillText(texts[name], values, locale);
}

/** Return whether the language has a text with this name. */
export const hasText = (name) => Object.hasOwn(texts, name);

/** Return words in one text, as in “light or dark”. */
export const anyOf = (words) => new Intl.ListFormat(locale, { type: "disjunction" }).format(words);

/** The fault of the language in the link, empty if the pages have this language. */
export const languageFault = isUnknown ? text("option.choice", { option: "lang", choices: anyOf(Object.keys(LANGUAGES)) }) : "";

async function load(url) {
  for (;;) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok) return response.json();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
