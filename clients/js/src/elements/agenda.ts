// <sync-agenda session>: the items of a session with a plan, with planned and expected starts and the progress.
import { formatClock, isFinal, type Session, type Watch } from "../index.js";
import { agendaOf, type AgendaRow, type AgendaView } from "./agenda-rows.js";
import { ACTIVE, part, SessionElement, setText } from "./base.js";
import { joined, say, timeOfDay, type TextName } from "./texts.js";

const STYLE = `
:host { display: block; container-type: inline-size; font-family: var(--sync-agenda-font, system-ui, sans-serif);
  font-variant-numeric: tabular-nums; color: var(--sync-agenda-color, CanvasText); }
:host([hidden]), [hidden] { display: none !important; }
[part=summary] { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.25rem 1rem; margin: 0 0 0.5rem; }
[part=summary]:empty { margin: 0; }
[part=progress] { display: block; width: 100%; height: 0.5rem; margin: 0 0 0.75rem;
  accent-color: var(--sync-agenda-active-border, ${ACTIVE}); }
ol { margin: 0; padding: 0; list-style: none; }
li { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0.125rem 1rem; padding: 0.625rem 0.75rem;
  border-inline-start: 4px solid transparent; border-block-end: 1px solid var(--sync-agenda-border, GrayText); }
li[aria-current] { border-inline-start-color: var(--sync-agenda-active-border, ${ACTIVE});
  background: var(--sync-agenda-active-background, transparent); }
li[aria-current] [part=title] { font-weight: 700; }
[part=title] { overflow-wrap: anywhere; }
[part=time] { text-align: end; white-space: nowrap; }
[part=detail], [part=start] { font-size: 0.875em; color: var(--sync-agenda-detail-color, inherit); }
[part=start] { text-align: end; }
li[data-status=done] [part=title] { color: var(--sync-agenda-detail-color, inherit); }
@container (max-width: 24rem) { [part=start] { grid-column: 1 / -1; text-align: start; } }
@media (forced-colors: active) {
  li { border-inline-start-color: Canvas; }
  li[aria-current] { border-inline-start-color: Highlight; }
}
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

/** Milliseconds between two paintings. Expected starts also change during a pause, when no clock changes its text. */
const PAINT_EVERY_MS = 1000;

const STATUS_TEXTS: Partial<Record<AgendaRow["status"], TextName>> = {
  next: "agenda.next",
  running: "agenda.now",
  paused: "clock.paused",
  done: "agenda.done",
};

/** The items of a session with a plan. Empty for a session without one. */
export class SyncAgenda extends SessionElement {
  readonly #summary = part("p", "summary");
  readonly #offset = part("span", "offset");
  readonly #end = part("span", "end");
  readonly #progress = part("progress", "progress");
  readonly #list = part("ol", "list");
  readonly #said = document.createElement("span");
  #timer: ReturnType<typeof setInterval> | undefined;
  #current: string | null = null;

  constructor() {
    super(STYLE);
    this.#said.className = "said";
    this.#said.setAttribute("aria-live", "polite");
    this.#summary.append(this.#offset, this.#end);
    this.root.append(this.#summary, this.#progress, this.#list, this.#said);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  protected started(_watch: Watch): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#paintTimes(), PAINT_EVERY_MS);
    this.#current = null;
  }

  protected render(): void {
    const session = this.watch?.shown ?? null;
    const view = session && agendaOf(session, this.nowMs());
    this.#progress.hidden = !view;
    if (view) this.#progress.setAttribute("aria-label", say("agenda.progress"));
    setText(this.#offset, view && session ? offsetWords(session, view) : missingWords(session, this.errorText));
    setText(this.#end, view?.endMs ? say("agenda.end", { time: timeOfDay(view.endMs) }) : "");
    this.#progress.value = view?.progress ?? 0;
    const rows = view?.rows ?? [];
    while (this.#list.children.length > rows.length) this.#list.lastElementChild?.remove();
    while (this.#list.children.length < rows.length) this.#list.append(newRow());
    rows.forEach((row, at) => paintRow(this.#list.children[at] as HTMLElement, row));
    this.#sayCurrent(rows);
  }

  #paintTimes(): void {
    const session = this.watch?.shown;
    if (session?.plan && !isFinal(session)) this.render();
  }

  /** Say the title of an item that begins, but not of the one that runs when the page opens. */
  #sayCurrent(rows: AgendaRow[]): void {
    const current = rows.find(({ status }) => status === "running");
    if (!current || current.id === this.#current) return;
    if (this.#current !== null) this.#said.textContent = say("agenda.begun", { title: current.title });
    this.#current = current.id;
  }
}

function newRow(): HTMLElement {
  const row = part("li", "item");
  row.append(part("span", "title"), part("span", "time"), part("span", "detail"), part("span", "start"));
  return row;
}

function paintRow(element: HTMLElement, row: AgendaRow): void {
  const [title, time, detail, start] = element.children as unknown as [Element, Element, Element, Element];
  const isCurrent = row.status === "running" || row.status === "paused" || row.status === "next";
  element.dataset.status = row.status;
  if (isCurrent) element.setAttribute("aria-current", "step");
  else element.removeAttribute("aria-current");
  setText(title, row.title);
  setText(time, timeWords(row));
  const status = STATUS_TEXTS[row.status];
  setText(detail, [status ? say(status) : "", row.owner].filter(Boolean).join(" · "));
  setText(start, startWords(row));
}

const duration = (ms: number) => formatClock(ms, { tenths: "never" });

/** Return the time of an item: planned before it begins, then used of planned, with the difference in words. */
function timeWords({ status, usedMs, plannedMs, overMs }: AgendaRow): string {
  if (status === "pending" || status === "next") return duration(plannedMs);
  const difference = overMs === 0 ? "" : say(overMs > 0 ? "agenda.over" : "agenda.under", { time: duration(Math.abs(overMs)) });
  return joined([say("agenda.used", { used: duration(usedMs), planned: duration(plannedMs) }), difference]);
}

function startWords({ plannedStartMs, expectedStartMs }: AgendaRow): string {
  const planned = plannedStartMs === null ? "" : say("agenda.planned", { time: timeOfDay(plannedStartMs) });
  const expected = expectedStartMs === null ? "" : say("agenda.expected", { time: timeOfDay(expectedStartMs) });
  return [planned, expected].filter(Boolean).join(" · ");
}

function offsetWords(session: Session, { offsetMs }: AgendaView): string {
  switch (session.status) {
    case "pending":
      return say("clock.waiting");
    case "completed":
    case "expired":
      return say("clock.finished");
    case "cancelled":
      return say("clock.cancelled");
    default: {
      const paused = session.status === "paused" ? say("clock.paused") : "";
      const time = duration(Math.abs(offsetMs ?? 0));
      return joined([paused, say(!offsetMs ? "agenda.onTime" : offsetMs > 0 ? "agenda.late" : "agenda.early", { time })]);
    }
  }
}

const missingWords = (session: Session | null, error: string) => (session ? say("agenda.none") : error);
