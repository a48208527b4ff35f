// One board: shows the clock of one side (white or black) of a session, and reports presses of this side's button.

import { isOnlyThisMachine } from "./join.js";
import { LOW_MS, eventBetween, formatReading, hasExpired, isFinal, readingMs } from "./reading.js";
import { Tape } from "./tape.js";

const LIFT_MS = 10_000; // Milliseconds before zero at which the hand of the dial begins to lift the flag.
const FALLEN_DEGREES = 90; // Rotation of the fallen flag, which lies on the bottom of the dial (see board.css).
const SIDES = ["white", "black"];

export class Board {
  /**
   * `side` is white or black. `link` is the connection of the session, with the server's time. `onpress` is
   * called for each press of the clock, and `ongive` for each press of "+15 s". `rights` returns the rights of the
   * caller, see rights.js. If `isWall`, the board only shows the clock of its side, without buttons and without the
   * opponent's clock.
   */
  constructor({ side, link, isWall, rights, onpress, ongive }) {
    this.side = side;
    this.link = link;
    this.rights = rights;
    this.isWall = isWall;
    this.element = document.getElementById("board").content.firstElementChild.cloneNode(true);
    this.element.dataset.side = side;
    const find = (name) => this.element.querySelector(`.${name}`);
    const names = ["name", "moves", "main", "tenths", "hand", "flag", "hint", "retry", "give", "press", "digits"];
    for (const name of [...names, "opponent-name", "opponent-time", "seat"]) this[name] = find(name);
    this.opponentClock = find("opponent");
    this.tape = new Tape(find("tape"), link);
    listenForPress(this.press, () => onpress(this));
    this.give.onclick = () => ongive(this);
    this.retry.onclick = () => link.retryNow();
    if (isWall) this.opponentClock.hidden = true;
    this.attach(link);
  }

  attach(link) {
    link.addEventListener("status", () => this.show());
    link.addEventListener("state", ({ detail }) => {
      this.tape.addReceived(detail, eventBetween(detail.before, detail.state));
      this.show();
    });
    this.show();
  }

  /** This side's participant in the newest state, or null. */
  get player() {
    return this.link.state?.participants[SIDES.indexOf(this.side)] ?? null;
  }

  /** The other side's participant in the newest state, or null. */
  get opponent() {
    return this.link.state?.participants[1 - SIDES.indexOf(this.side)] ?? null;
  }

  get isActive() {
    return this.player !== null && this.link.state.active_participant_id === this.player.participant_id;
  }

  /** The name of this board's condition, which selects the colours and the hint: a session status or another word. */
  get mood() {
    const { state, status } = this.link;
    if (status === "missing" || status === "deleted") return "gone";
    if (!state || !this.player) return status === "lost" ? "lost" : "waiting";
    if (hasExpired(state, this.player)) return "flagged";
    if (isFinal(state)) return hasExpired(state, this.opponent ?? this.player) ? "won" : "over";
    if (status === "lost") return "lost";
    return state.status;
  }

  /** Update the elements that change only with the session's state or the connection, and not with time. */
  show() {
    const { player, opponent, mood, element } = this;
    element.dataset.mood = mood;
    element.dataset.link = this.link.status;
    element.classList.toggle("lit", this.isActive && !["flagged", "won", "over", "gone", "pending"].includes(mood));
    this.name.textContent = nameOf(player, this.side);
    element.setAttribute("aria-label", `${this.name.textContent}’s board`);
    const moves = player?.cycle_count ?? 0;
    this.moves.textContent = moves ? `${moves} ${moves === 1 ? "move" : "moves"}` : "";
    this["opponent-name"].textContent = opponent ? nameOf(opponent, "opponent") : "";
    this.hint.textContent = this.hintText();
    this.retry.hidden = mood !== "lost";
    this.press.hidden = this.isWall || !this.mayPress();
    this.give.hidden = this.isWall || !this.rights().adjust;
    this.give.disabled = !player || isFinal(this.link.state) || mood === "gone" || mood === "lost";
    this.give.setAttribute("aria-label", `Give ${this.name.textContent} 15 seconds`);
    this.press.setAttribute("aria-label", this.pressLabel());
    this.press.setAttribute("aria-disabled", String(!this.canPress()));
  }

  /** Whether the caller is ever allowed to press this clock. */
  mayPress() {
    const { start, press } = this.rights();
    return start || (this.player !== null && press(this.player.participant_id));
  }

  /** Whether the caller is allowed to press this clock now. */
  canPress() {
    if (this.mood === "pending") return this.rights().start;
    return this.mood === "running" && this.isActive && this.mayPress();
  }

  pressLabel() {
    return this.mood === "pending" ? "Start the clock" : `Press ${this.name.textContent}’s clock`;
  }

  hintText() {
    const opponent = nameOf(this.opponent, "the other side");
    switch (this.mood) {
      case "waiting": return "Connecting";
      case "gone": return "This game does not exist any more";
      case "lost": return "Connection lost. Reconnecting";
      case "pending":
        if (this.isWall) return this.scanText();
        return this.canPress() ? "Press to start" : "Waiting for the start";
      case "running":
        if (!this.isActive) return this.isWall ? "" : `Waiting for ${opponent}`;
        return this.isWall || !this.canPress() ? "To move" : "Press when you have moved";
      case "paused": return "Paused";
      case "flagged": return "Time is up";
      case "won": return "Wins on time";
      default: return this.link.state.status === "cancelled" ? "Cancelled" : "Finished";
    }
  }

  scanText() {
    const text = `Scan to play ${this.name.textContent}`;
    return isOnlyThisMachine() ? `${text}. The code works only on this machine` : text;
  }

  /** Paint the readings at one instant. Elements that show the same as before are not changed. */
  paint(serverNowMs) {
    const { state } = this.link;
    if (!this.player) return;
    if (serverNowMs === null && state.cycle_started_at !== null) {
      for (const each of [this.main, this["opponent-time"]]) setText(each, "-:--");
      setText(this.tenths, "");
      return;
    }
    const ms = readingMs(state, this.player, serverNowMs);
    const shown = formatReading(ms);
    setText(this.main, shown.digits);
    setText(this.tenths, shown.tenths);
    if (this.opponent) {
      const reading = formatReading(readingMs(state, this.opponent, serverNowMs));
      setText(this["opponent-time"], reading.digits + reading.tenths);
    }
    const isLow = String(ms < LOW_MS && state.status !== "pending");
    if (this.element.dataset.low !== isLow) this.element.dataset.low = isLow;
    const isLong = String(shown.digits.length > 5);
    if (this.digits.dataset.long !== isLong) this.digits.dataset.long = isLong;
    rotate(this.hand, -((ms % 60_000) / 60_000) * 360);
    const lift = Math.max(0, 1 - ms / LIFT_MS);
    rotate(this.flag, this.mood === "flagged" ? FALLEN_DEGREES : -lift * 82);
  }

  /** Move the board a little, to show that it was pressed. */
  nudge() {
    this.element.animate?.([{ translate: "0" }, { translate: "0 4px" }, { translate: "0" }], 160);
  }
}

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Rotate an element by degrees, in steps of a quarter degree. A smaller change then causes no new layout. */
const rotate = (element, degrees) => {
  const rotation = `${Math.round(degrees * 4) / 4}deg`;
  if (element.style.rotate !== rotation) element.style.rotate = rotation;
};

const nameOf = (participant, side) => participant?.display_name ?? side[0].toUpperCase() + side.slice(1);

/** Call `onpress` when the pointer goes down on the button, and for clicks by keyboard or assistive tools. */
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
