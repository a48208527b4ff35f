// The clocks of a session that is no game of two: all clocks, or the clock of one participant, and the buttons that the
// caller is allowed to use. The elements of the SDK show them.

/** Return whether the page shows the clocks of a session in place of two boards. `only` is a participant, or null. */
export const showsClocks = (state, only) => state.sync_mode === "individual" || only !== null || state.participants.length !== 2;

export class Clocks {
  /** `element` is the section of the page. `only` is the participant whose row the page watches alone, or null. */
  constructor(element, only) {
    this.element = element;
    this.only = only;
    this.board = element.querySelector("sync-board");
    this.controls = element.querySelector("sync-controls");
    this.choice = element.querySelector("label");
    this.select = element.querySelector("select");
    this.select.onchange = () => this.command();
    if (only !== null) element.setAttribute("only", only);
  }

  /** The participant that the caller has chosen, or whose row the page watches alone. Null for all. */
  get participant() {
    return this.only ?? (this.select.value || null);
  }

  /**
   * Show a state. `client` is the client of the page's connection. `caller` is the answer of `GET /v1/me`, and `rights`
   * are those of rights.js. A null state hides the clocks.
   */
  show(state, client, caller, rights) {
    this.element.hidden = !state || !showsClocks(state, this.only);
    if (this.element.hidden) return;
    this.state = state;
    this.own = caller.session_role === "participant" ? caller.participant_id : null;
    this.choice.hidden = !rights.start || this.only !== null || state.sync_mode !== "individual";
    if (!this.choice.hidden) this.listParticipants();
    this.controls.hidden = !rights.start && !(this.own !== null && rights.press(this.own));
    if (rights.start) this.controls.removeAttribute("commands");
    else this.controls.setAttribute("commands", state.sync_mode === "individual" ? "pause resume finish" : "switch pause resume");
    this.command();
    for (const each of [this.board, this.controls]) {
      if (each.client !== client) each.client = client;
      if (each.getAttribute("session") !== state.session_id) each.setAttribute("session", state.session_id);
    }
  }

  listParticipants() {
    const options = this.state.participants.map((each) => ({
      id: each.participant_id,
      name: each.display_name ?? `Participant ${each.participant_index + 1}`,
    }));
    const key = JSON.stringify(options);
    if (this.listed === key) return;
    this.listed = key;
    const { value } = this.select;
    this.select.replaceChildren(new Option("All clocks", ""), ...options.map(({ id, name }) => new Option(name, id)));
    this.select.value = options.some(({ id }) => id === value) ? value : "";
  }

  /** Give the controls the participant that they command. */
  command() {
    const participant = this.choice.hidden ? (this.only ?? this.own) : this.select.value || null;
    if (participant === null) this.controls.removeAttribute("participant");
    else this.controls.setAttribute("participant", participant);
  }
}
