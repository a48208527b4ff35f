// The agenda of a session with a plan. The element of the SDK shows it.

export class Agenda {
  /** `element` is the section of the page. `onnext` is called if the caller presses the button for the next item. */
  constructor(element, onnext) {
    this.element = element;
    this.items = element.querySelector("sync-agenda");
    this.next = element.querySelector("button");
    this.next.onclick = onnext;
  }

  /**
   * Show the items of a state. `client` is the client of the page's connection. `mayControl` says whether the caller may
   * begin the next item. A state without a plan hides the agenda.
   */
  show(state, client, mayControl) {
    this.element.hidden = !state?.plan;
    if (this.element.hidden) return;
    this.next.hidden = !mayControl || state.status !== "running";
    if (this.items.client !== client) this.items.client = client;
    if (this.items.getAttribute("session") !== state.session_id) this.items.setAttribute("session", state.session_id);
  }
}
