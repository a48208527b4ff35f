// The editor of a plan. Items that have begun stay as they are; the others can be changed, moved, removed and added.

import { button, element, field } from "../view/dom.js";
import { text } from "../view/texts.js";

const MINUTE_MS = 60_000;
const SETTINGS = ["item_id", "title", "time_ms", "participant_id", "warnings_ms"];

/** Return the settings of an item of a session, without what the server calculates. */
const settingsOf = (item) => Object.fromEntries(SETTINGS.filter((name) => item[name] !== undefined).map((name) => [name, item[name]]));

export class PlanEditor {
  element = element("form", { hidden: true });
  #send;
  #list = element("ul");
  #fault = element("p", { role: "alert" });
  #items = []; // What the host edits: `{item, hasBegun}`.
  #shown = ""; // The plan of the server that the editor shows, as JSON.
  #version = 0; // The newest version whose plan is `#shown`.
  #isEdited = false;

  constructor(send) {
    this.#send = send;
    const bar = element(
      "p",
      { className: "bar" },
      button(text("edit.addItem"), () => this.#add()),
      element("button", { textContent: text("edit.saveAgenda") }),
    );
    this.element.append(element("h3", { textContent: text("edit.agenda") }), this.#list, bar, this.#fault);
    this.element.onsubmit = (event) => {
      event.preventDefault();
      this.#save();
    };
  }

  /** Show the plan of a newer state. If the plan has changed on the server, what the host has edited is given up. */
  update(session, isFinal) {
    this.element.hidden = !session.plan || isFinal;
    if (this.element.hidden) return;
    const items = session.plan.map((item) => ({ item: settingsOf(item), hasBegun: item.status !== "pending" }));
    const json = JSON.stringify(items);
    this.#version = session.version;
    if (json === this.#shown) return;
    if (this.#isEdited) this.#fault.textContent = text("edit.agendaChanged");
    this.#shown = json;
    this.#items = items;
    this.#isEdited = false;
    this.#showItems();
  }

  #showItems() {
    this.#list.replaceChildren(...this.#items.map((each, at) => this.#row(each, at)));
  }

  #row({ item, hasBegun }, at) {
    const name = item.title ?? item.item_id;
    if (hasBegun) return element("li", {}, element("span", { textContent: text("edit.hasBegun", { item: name }) }));
    const title = field({ label: text("edit.item"), value: item.title ?? "", required: true, maxLength: 200 });
    const minutes = field({ label: text("edit.minutes"), type: "number", min: "0.1", step: "any", required: true, value: String(item.time_ms / MINUTE_MS) });
    title.lastElementChild.oninput = ({ target }) => this.#change(() => (item.title = target.value));
    minutes.lastElementChild.oninput = ({ target }) => this.#change(() => (item.time_ms = Math.round(Number(target.value) * MINUTE_MS)));
    const named = (label, onclick, more) =>
      button(text(label), onclick, { ...more, "aria-label": text("control.about", { action: text(label), name }) });
    const canMoveUp = at > 0 && !this.#items[at - 1].hasBegun;
    const buttons = [
      named("edit.earlier", () => this.#move(at, at - 1), { disabled: !canMoveUp }),
      named("edit.later", () => this.#move(at, at + 1), { disabled: at === this.#items.length - 1 }),
      named("action.remove", () => this.#remove(at)),
    ];
    return element("li", {}, title, minutes, element("div", {}, ...buttons));
  }

  #change(apply) {
    this.#isEdited = true;
    this.#fault.textContent = "";
    apply();
  }

  #move(from, to) {
    this.#change(() => this.#items.splice(to, 0, ...this.#items.splice(from, 1)));
    this.#showItems();
    const moved = this.#list.children[to];
    (moved.querySelector(to < from ? "button" : "button:nth-child(2)") ?? moved).focus();
  }

  #remove(at) {
    this.#change(() => this.#items.splice(at, 1));
    this.#showItems();
  }

  #add() {
    this.#change(() => this.#items.push({ item: { title: "", time_ms: 5 * MINUTE_MS }, hasBegun: false }));
    this.#showItems();
    this.#list.lastElementChild.querySelector("input").focus();
  }

  async #save() {
    const plan = this.#items.map(({ item }) => item);
    if (await this.#send("set_plan", { plan }, { expectedVersion: this.#version })) this.#isEdited = false;
  }
}
