// Keyboard shortcuts of the control page. People who use speech input or a screen reader can turn them off (WCAG 2.1.4).

import { keepChoice } from "../view/dom.js";

const STORAGE_KEY = "synckairos-shortcuts";
const FIELDS = "input, textarea, select, button, a, summary, [contenteditable]";

/** The keys of each shortcut, by the name of the shortcut. */
export const KEYS = {
  main: " ",
  next: "ArrowRight",
  back: "ArrowLeft",
  plus: "ArrowUp",
  minus: "ArrowDown",
  blackout: "b",
  fullscreen: "f",
  message: "m",
  help: "?",
};

/** Call `run` with the name of what a key does, while the checkbox `toggle` is set. The browser keeps the choice. */
export function setUpShortcuts(toggle, run) {
  keepChoice(toggle, STORAGE_KEY, true);
  document.addEventListener("keydown", (event) => {
    if (!toggle.checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    // A focused field or button takes the key itself. A letter on a button has no meaning there.
    const field = event.target.closest?.(FIELDS);
    const takesKey = field && (!field.matches("button, a, summary") || event.key === " ");
    if (takesKey || document.querySelector("dialog[open]")) return;
    const name = Object.keys(KEYS).find((each) => KEYS[each] === event.key || KEYS[each] === event.key.toLowerCase());
    if (!name) return;
    event.preventDefault(); // Space and arrows scroll.
    run(name);
  });
}
