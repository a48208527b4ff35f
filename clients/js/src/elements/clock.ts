// <sync-clock session participant face tenths sound overtime>: one clock.
import { formatClock, UNKNOWN_TEXT, type TextFormat, type Watch } from "../index.js";
import { part, SessionElement, setText } from "./base.js";
import { playLowTime } from "./sound.js";
import { joined, say } from "./texts.js";
import { isRunning, lowTimeMs, milestoneWords, participantOf, phaseWords, statusWords } from "./words.js";

const STYLE = `
:host { display: inline-block; contain: content; font: var(--sync-clock-font, 600 2rem/1.1 ui-monospace, monospace);
  color: var(--sync-clock-color, CanvasText); background: var(--sync-clock-background, transparent);
  font-variant-numeric: tabular-nums; text-align: center; }
:host([hidden]) { display: none; }
:host([data-active]) { color: var(--sync-clock-active-color, var(--sync-clock-color, CanvasText)); }
:host([data-low]) { color: var(--sync-clock-low-color, light-dark(#b3261e, #ffb4ab)); }
:host([data-low]) [part=time]::before { content: var(--sync-clock-low-mark, "! "); }
:host([face=stage]) { font-size: var(--sync-clock-stage-size, min(30vw, 60vh)); }
[part=time] { direction: ltr; unicode-bidi: isolate; }
[part=words] { display: block; font: var(--sync-clock-words-font, 0.8rem/1.4 system-ui, sans-serif); min-height: 1.4em; }
:host([face=stage]) [part=words] { font-size: 0.15em; }
.dim { opacity: 0.35; }
@media (prefers-reduced-motion: reduce) { .dim { opacity: 1; } }
@media (forced-colors: active) { :host([data-low]) { color: CanvasText; } }
.said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

/** Tenths of each face; the attribute `tenths` replaces it. */
const FACES: Record<string, TextFormat> = {
  chess: {},
  go: {},
  stage: { tenths: "never" },
  sport: { tenthsBelowMs: 60_000 },
};

/** Milliseconds after the beginning of a second at which the colon of a running clock becomes dim. */
const DIM_AFTER_MS = 500;

/** Milliseconds after a `lowtime` event before the next one, and how far the time must rise before. */
const LOW_AGAIN_MS = 20_000;
const LOW_AGAIN_FACTOR = 1.5;

/**
 * One clock. Without `participant` it is the clock that runs. It fires `lowtime` when its time becomes low, and
 * `milestone` with the words that a screen reader says. With the attribute `sound` it plays a sound at low time, unless
 * a listener calls `preventDefault` of `lowtime`. With `overtime="frozen"` the digits stop at zero, beside the word overtime.
 */
export class SyncClock extends SessionElement {
  readonly #time = part("span", "time");
  // The parts of the time stay the same nodes, because a new node for each tenth of a second costs a layout more.
  readonly #before = new Text();
  readonly #colon = document.createElement("span");
  readonly #after = new Text();
  readonly #words = part("span", "words");
  readonly #said = document.createElement("span");
  #text = "";
  #lastMs: number | null = null;
  #isLow = false;
  #lowAtMs = -Infinity;
  #dimTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super(STYLE);
    this.#time.setAttribute("role", "timer");
    this.#time.setAttribute("aria-live", "off");
    this.#time.append(this.#before, this.#colon, this.#after);
    this.#said.className = "said";
    this.#said.setAttribute("aria-live", "polite");
    this.root.append(this.#time, this.#words, this.#said);
  }

  protected started(watch: Watch): void {
    this.#lastMs = null;
    watch.onChange({ ...this.#format(), ...this.#owner() }, (text) => this.#showText(text));
  }

  protected render(): void {
    const session = this.watch?.shown;
    if (!session) {
      this.#showText(UNKNOWN_TEXT);
      setText(this.#words, this.errorText);
      return;
    }
    const { participant } = this;
    const owner = participantOf(session, participant);
    const reading = this.watch?.reading(participant);
    const words = [statusWords(session, owner), reading ? phaseWords(session, reading, participant) : ""];
    if (owner?.has_expired && session.status !== "expired") words.push(say("clock.expired"));
    setText(this.#words, joined(words));
    const label = owner?.display_name ?? say("clock.name");
    if (this.#time.getAttribute("aria-label") !== label) this.#time.setAttribute("aria-label", label);
    const hasTurn = owner === undefined || owner.status !== undefined ? isRunning(session, owner) : owner.is_active;
    this.toggleAttribute("data-active", hasTurn);
    const runs = (reading?.rateMs ?? 0) !== 0 && (reading?.freeMs ?? 0) === 0;
    this.toggleAttribute("data-runs", runs);
    if (runs) return;
    clearTimeout(this.#dimTimer);
    this.#colon.classList.remove("dim");
  }

  #owner(): { participant?: string } {
    return this.participant === undefined ? {} : { participant: this.participant };
  }

  #format(): TextFormat {
    const format = { ...FACES[this.getAttribute("face") ?? "chess"] };
    const tenths = this.getAttribute("tenths");
    if (tenths === "auto" || tenths === "always" || tenths === "never") format.tenths = tenths;
    return format;
  }

  #showText(text: string): void {
    const ms = this.watch?.reading(this.participant)?.time_remaining_ms ?? null;
    const isFrozen = this.getAttribute("overtime") === "frozen" && text.startsWith("-") && ms !== null;
    const digits = isFrozen ? formatClock(0, this.#format(), true) : text;
    if (this.#text !== digits) this.#setDigits(digits);
    this.#noteLowTime(ms);
    if (this.#lastMs !== null && ms !== null && ms < this.#lastMs) this.#say(milestoneWords(this.#lastMs, ms));
    this.#lastMs = ms;
    // The phase can change together with the text, without a message of the server.
    if (this.watch?.shown) this.render();
  }

  #setDigits(text: string): void {
    if (this.#text.length !== text.length) this.style.setProperty("--sync-clock-characters", String(text.length));
    this.#text = text;
    const at = text.lastIndexOf(":");
    setData(this.#before, text.slice(0, Math.max(0, at)));
    setText(this.#colon, text.slice(at, at + 1));
    setData(this.#after, text.slice(at + 1));
    this.#colon.classList.remove("dim");
    // A timer costs less than an animation, which would draw every frame. Tenths show by themselves that the clock runs.
    clearTimeout(this.#dimTimer);
    if (!text.includes(".") && this.hasAttribute("data-runs")) {
      this.#dimTimer = setTimeout(() => this.#colon.classList.add("dim"), DIM_AFTER_MS);
    }
  }

  #noteLowTime(ms: number | null): void {
    const session = this.watch?.shown;
    const owner = session ? participantOf(session, this.participant) : undefined;
    const initialMs = owner?.total_time_ms ?? session?.total_time_ms ?? 0;
    const lowMs = lowTimeMs(initialMs);
    const wasLow = this.#isLow;
    const isCountdown = session?.sync_mode !== "count_up" && ms !== null;
    if (isCountdown && ms < lowMs) this.#isLow = true;
    else if (!isCountdown || ms > lowMs * LOW_AGAIN_FACTOR || !wasLow) this.#isLow = false;
    this.toggleAttribute("data-low", isCountdown && ms < lowMs);
    if (!this.#isLow || wasLow || !session || !isRunning(session, owner)) return;
    const nowMs = performance.now();
    if (nowMs - this.#lowAtMs < LOW_AGAIN_MS) return;
    this.#lowAtMs = nowMs;
    const options = { bubbles: true, composed: true, cancelable: true, detail: { remainingMs: ms } };
    const isAllowed = this.dispatchEvent(new CustomEvent("lowtime", options));
    if (isAllowed && this.hasAttribute("sound")) playLowTime();
  }

  #say(words: string): void {
    if (!words || this.watch?.shown?.status !== "running") return;
    this.#said.textContent = words;
    this.dispatchEvent(new CustomEvent("milestone", { bubbles: true, composed: true, detail: { words } }));
  }
}

function setData(node: Text, data: string): void {
  if (node.data !== data) node.data = data;
}
