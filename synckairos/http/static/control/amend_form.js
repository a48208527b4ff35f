// The form that corrects the times of an ended session that measured the hours of one participant.

import { button, element, field } from "../view/dom.js";
import { text } from "../view/texts.js";

const pad = (value) => String(value).padStart(2, "0");

/** Return an instant as the value of a field of the type `datetime-local`, in the time zone of the browser. */
function toLocal(instant) {
  const at = new Date(instant);
  const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return `${day}T${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

const instantField = (label, value) => field({ label, type: "datetime-local", step: "1", required: true, value });
const instantOf = (label) => new Date(label.lastElementChild.value).toISOString();

export class AmendForm {
  element = element("form", { hidden: true });
  #send;
  #from = instantField(text("edit.started"), "");
  #to = instantField(text("edit.ended"), "");
  #reason = field({ label: text("edit.reason"), maxLength: 200 });
  #replaces = element("input", { type: "checkbox" });
  #breaks = element("ul");
  #shown = ""; // The times that the fields show. Fields that the host has changed stay until the times change.
  #times = {};

  constructor(send) {
    this.#send = send;
    const add = button(text("edit.addBreak"), () => this.#addBreak());
    add.hidden = true;
    this.#replaces.onchange = () => (this.#breaks.hidden = add.hidden = !this.#replaces.checked);
    this.#breaks.hidden = true;
    this.element.append(
      element("h3", { textContent: text("edit.times") }),
      this.#from,
      this.#to,
      element("label", { className: "check" }, this.#replaces, ` ${text("edit.replaceBreaks")}`),
      this.#breaks,
      add,
      this.#reason,
      element("button", { textContent: text("edit.times") }),
    );
    this.element.onsubmit = (event) => {
      event.preventDefault();
      this.#save();
    };
  }

  update(session, isFinal) {
    const { sync_mode: mode, participants, session_started_at: from, session_completed_at: to } = session;
    this.element.hidden = mode !== "count_up" || !isFinal || participants.length !== 1 || !from || !to;
    if (this.element.hidden || this.#shown === `${from} ${to}`) return;
    this.#shown = `${from} ${to}`;
    this.#times = { started_at: from, completed_at: to };
    this.#from.lastElementChild.value = toLocal(from);
    this.#to.lastElementChild.value = toLocal(to);
  }

  #addBreak() {
    const { value } = this.#from.lastElementChild;
    const row = element("li", {}, instantField(text("edit.breakFrom"), value), instantField(text("edit.breakTo"), value));
    row.append(button(text("action.remove"), () => row.remove(), { "aria-label": text("edit.removeBreak") }));
    this.#breaks.append(row);
    row.querySelector("input").focus();
  }

  async #save() {
    const reason = this.#reason.lastElementChild.value.trim();
    const breaks = [...this.#breaks.children].map((row) => ({ from: instantOf(row.children[0]), to: instantOf(row.children[1]) }));
    const args = {
      ...this.#changed("started_at", this.#from),
      ...this.#changed("completed_at", this.#to),
      ...(this.#replaces.checked ? { breaks } : {}),
      ...(reason ? { reason } : {}),
    };
    if (!(await this.#send("amend", args))) return;
    this.#reason.lastElementChild.value = "";
    this.#breaks.replaceChildren();
    if (this.#replaces.checked) this.#replaces.click();
  }

  /** Return a time that the host has changed. The fields have whole seconds, so an unchanged time would lose its milliseconds. */
  #changed(name, label) {
    const before = Math.floor(Date.parse(this.#times[name]) / 1000);
    return Date.parse(instantOf(label)) / 1000 === before ? {} : { [name]: instantOf(label) };
  }
}
