// Shows the announcement of a session.

import { text } from "./texts.js";

const FLASH_MS = 6_000; // The animation in announcement.css takes as long.
const MAX_TIMER_MS = 2 ** 31 - 1;
const LABELS = { warning: "announcement.warning", urgent: "announcement.urgent" };

/** Shows the announcement in `element`. `nowMs` returns the server's time in ms since the Unix epoch, null if unknown. */
export class AnnouncementDisplay {
  #element;
  #nowMs;
  #timer = 0;
  #announcedAt = "";

  constructor(element, nowMs) {
    this.#element = element;
    this.#nowMs = nowMs;
    this.#element.append(document.createElement("strong"), document.createElement("span"));
  }

  /** Show the announcement of a session until its end. */
  show({ announcement }) {
    clearTimeout(this.#timer);
    const nowMs = this.#nowMs() ?? Date.now();
    const leftMs = announcement?.until ? Date.parse(announcement.until) - nowMs : Infinity;
    const isShown = announcement !== undefined && leftMs > 0;
    this.#element.hidden = !isShown;
    if (!isShown) return this.#clear();
    if (leftMs < Infinity) {
      this.#timer = setTimeout(() => this.show({ announcement }), Math.min(leftMs, MAX_TIMER_MS));
    }
    const [label, content] = this.#element.children;
    this.#element.dataset.tone = announcement.tone;
    const name = LABELS[announcement.tone];
    setText(label, name ? `${text(name)} ` : "");
    setText(content, announcement.text);
    if (announcement.announced_at === this.#announcedAt) return;
    this.#announcedAt = announcement.announced_at;
    const isNew = nowMs - Date.parse(announcement.announced_at) < FLASH_MS;
    // The animation begins anew only if the class was removed and the page was laid out in between.
    this.#element.classList.remove("flash");
    if (announcement.flash && isNew && this.#element.offsetWidth >= 0) this.#element.classList.add("flash");
  }

  #clear() {
    for (const each of this.#element.children) each.textContent = "";
    this.#element.classList.remove("flash");
  }
}

function setText(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
