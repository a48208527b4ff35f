// The agenda: the items of a session with a plan, with their planned and expected starts.

import { formatReading } from "./reading.js";
import { expectedStartsMs, readSession } from "./sdk.js";

export class Agenda {
  /** `element` is the section of the page. `onnext` is called if the caller presses the button for the next item. */
  constructor(element, onnext) {
    this.element = element;
    this.list = element.querySelector("ol");
    this.offset = element.querySelector(".offset");
    this.next = element.querySelector("button");
    this.next.onclick = onnext;
    this.version = null;
  }

  /** Draw the items of a state. `mayControl` says whether the caller may begin the next item. Null hides the agenda. */
  show(state, mayControl) {
    this.element.hidden = !state?.plan;
    if (this.element.hidden) return;
    this.next.hidden = !mayControl || state.status !== "running";
    const key = `${state.session_id} ${state.epoch} ${state.version}`;
    if (this.version === key) return;
    this.version = key;
    this.state = state;
    this.rows = new Map(state.plan.map((item) => [item.item_id, this.row(item)]));
    this.list.replaceChildren(...this.rows.values());
    const offset = state.schedule_offset_ms ?? 0;
    const isNear = Math.abs(offset) < 1000;
    this.offset.textContent = isNear ? "" : `${formatReading(Math.abs(offset)).digits} ${offset > 0 ? "late" : "early"}`;
  }

  row(item) {
    const row = document.createElement("li");
    row.dataset.status = item.item_id === this.state.next_item_id ? "next" : item.status;
    const owner = this.state.participants.find((each) => each.participant_id === item.participant_id);
    const isBegun = item.status !== "pending";
    const texts = {
      title: item.title ?? item.item_id,
      owner: owner?.display_name ?? "",
      time: formatReading(isBegun ? item.time_used_ms : item.time_ms).digits,
      planned: item.planned_start_at ? `planned ${timeOfDay(Date.parse(item.planned_start_at))}` : "",
      expected: "",
    };
    for (const [name, text] of Object.entries(texts)) {
      const part = row.appendChild(document.createElement("span"));
      part.className = name;
      part.textContent = text;
    }
    return row;
  }

  /** Paint what changes with time: the expected starts, and the time of the item that runs. */
  paint(nowMs) {
    if (this.element.hidden || !this.rows) return;
    const { state } = this;
    const expected = expectedStartsMs(state, nowMs);
    const elapsed = readSession(state, nowMs).time_used_ms - state.time_used_ms;
    for (const item of state.plan) {
      const at = expected.get(item.item_id);
      const row = this.rows.get(item.item_id);
      setText(row.querySelector(".expected"), at === undefined ? "" : `expected ${timeOfDay(at)}`);
      if (item.status !== "running") continue;
      setText(row.querySelector(".time"), formatReading(item.time_used_ms + elapsed).digits);
    }
  }
}

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Return an instant as the time of day of this device. */
const timeOfDay = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
