// One board: the view of one side on one link. Paints what the link's state says at an instant and reports presses.

import { LOW_MS, face, hasFlagged, happened, isFinal, readingMs } from "./reading.js";
import { Tape } from "./tape.js";

const LIFT_MS = 10_000; // the hand lifts the flag in the last ten seconds
const SEATS = ["white", "black"];

export class Board {
  /**
   * `side` is white or black, `onpress` is called for every press, `ongive` for more time, `now` tells server time.
   * `isWall` makes it a picture: nothing to press, no rival's clock.
   */
  constructor({ side, link, time, isWall, onpress, ongive }) {
    this.side = side;
    this.link = link;
    this.isWall = isWall;
    this.element = document.getElementById("board").content.firstElementChild.cloneNode(true);
    this.element.dataset.side = side;
    const find = (name) => this.element.querySelector(`.${name}`);
    const names = ["name", "moves", "main", "tenths", "hand", "flag", "hint", "retry", "give", "press", "rival"];
    for (const name of [...names, "rival-name", "rival-time", "digits", "seat"]) this[name] = find(name);
    this.tape = new Tape(find("tape"), time);
    listenForPress(this.press, () => onpress(this));
    this.give.onclick = () => ongive(this);
    this.retry.onclick = () => link.retryNow();
    if (isWall) for (const each of [this.press, this.give, this.rival]) each.hidden = true;
    this.attach(link);
  }

  attach(link) {
    link.addEventListener("status", () => this.show());
    link.addEventListener("state", ({ detail }) => {
      this.tape.received(detail, happened(detail.before, detail.state));
      this.show();
    });
    this.show();
  }

  /** This side's participant in the newest state, or null. */
  get own() {
    return this.link.state?.participants[SEATS.indexOf(this.side)] ?? null;
  }

  get rivalOf() {
    return this.link.state?.participants[1 - SEATS.indexOf(this.side)] ?? null;
  }

  get isActive() {
    return this.own !== null && this.link.state.active_participant_id === this.own.participant_id;
  }

  /** What this board is in: decides its colours and its words. */
  get mood() {
    const { state, status } = this.link;
    if (status === "missing" || status === "deleted") return "gone";
    if (!state || !this.own) return status === "lost" ? "lost" : "waiting";
    if (hasFlagged(state, this.own)) return "flagged";
    if (isFinal(state)) return hasFlagged(state, this.rivalOf ?? this.own) ? "won" : "over";
    if (status === "lost") return "lost";
    return state.status;
  }

  /** Show what changes only with a state or the connection. */
  show() {
    const { own, rivalOf: rival, mood, element } = this;
    element.dataset.mood = mood;
    element.dataset.link = this.link.status;
    element.classList.toggle("lit", this.isActive && !["flagged", "won", "over", "gone", "pending"].includes(mood));
    this.name.textContent = nameOf(own, this.side);
    element.setAttribute("aria-label", `${this.name.textContent}’s board`);
    const moves = own?.cycle_count ?? 0;
    this.moves.textContent = moves ? `${moves} ${moves === 1 ? "move" : "moves"}` : "";
    this["rival-name"].textContent = rival ? nameOf(rival, "rival") : "";
    this.hint.textContent = this.words();
    this.retry.hidden = mood !== "lost";
    this.give.disabled = !own || isFinal(this.link.state) || mood === "gone" || mood === "lost";
    this.give.setAttribute("aria-label", `Give ${this.name.textContent} 15 seconds`);
    this.press.setAttribute("aria-label", this.pressLabel());
    this.press.setAttribute("aria-disabled", String(!this.canPress()));
  }

  canPress() {
    return this.mood === "pending" || (this.mood === "running" && this.isActive);
  }

  pressLabel() {
    return this.mood === "pending" ? "Start the clock" : `Press ${this.name.textContent}’s clock`;
  }

  words() {
    const rival = nameOf(this.rivalOf, "the other side");
    switch (this.mood) {
      case "waiting": return "Connecting";
      case "gone": return "This game is no longer here";
      case "lost": return "Connection lost";
      case "pending": return this.isWall ? `Scan to play ${this.name.textContent}` : "Press to start";
      case "running":
        if (!this.isActive) return this.isWall ? "" : `Waiting for ${rival}`;
        return this.isWall ? "To move" : "Press when you have moved";
      case "paused": return "Paused";
      case "flagged": return "Flag fell";
      case "won": return "Wins on time";
      default: return this.link.state.status === "cancelled" ? "Called off" : "Finished";
    }
  }

  /** Paint one instant. Touches the page only where it differs from the last. */
  paint(serverNowMs) {
    const { state } = this.link;
    if (!this.own) return;
    const ms = readingMs(state, this.own, serverNowMs);
    const shown = face(ms);
    put(this.main, shown.digits);
    put(this.tenths, shown.tenths);
    if (this.rivalOf) {
      const rival = face(readingMs(state, this.rivalOf, serverNowMs));
      put(this["rival-time"], rival.digits + rival.tenths);
    }
    const isLow = String(ms < LOW_MS && state.status !== "pending");
    if (this.element.dataset.low !== isLow) this.element.dataset.low = isLow;
    const long = String(shown.digits.length > 5);
    if (this.digits.dataset.long !== long) this.digits.dataset.long = long;
    turn(this.hand, -((ms % 60_000) / 60_000) * 360);
    const lift = this.mood === "flagged" ? 0 : Math.max(0, 1 - ms / LIFT_MS);
    turn(this.flag, -lift * 82);
  }

  /** Say when the next try is, while the connection is lost. */
  paintWait(nowMs) {
    if (this.mood !== "lost" || this.link.retryAtMs === null) return;
    const seconds = Math.ceil((this.link.retryAtMs - nowMs) / 1000);
    put(this.hint, seconds > 1 ? `Connection lost, back in ${seconds} s` : "Connection lost, coming back");
  }

  nudge() {
    this.element.animate?.([{ translate: "0" }, { translate: "0 4px" }, { translate: "0" }], 160);
  }
}

const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Turn by degrees, in steps too small to see: a hand that hardly moved costs no layout. */
const turn = (element, degrees) => {
  const rotate = `${Math.round(degrees * 4) / 4}deg`;
  if (element.style.rotate !== rotate) element.style.rotate = rotate;
};

const nameOf = (participant, side) => participant?.display_name ?? side[0].toUpperCase() + side.slice(1);

/** A clock is pressed on touch, not on release; what comes without a pointer (keys, assistive tools) counts as well. */
function listenForPress(button, onpress) {
  let isDown = false;
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    isDown = true;
    onpress();
  });
  const up = () => setTimeout(() => (isDown = false), 60);
  button.addEventListener("pointerup", up);
  button.addEventListener("pointercancel", up);
  button.addEventListener("pointerleave", up);
  button.addEventListener("click", () => isDown || onpress());
}
