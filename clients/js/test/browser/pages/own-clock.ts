// A page of one participant of an exam: the elements watch the row of this participant alone.
import "../../../src/elements/index.js";

const parameters = new URLSearchParams(location.search);
const [server = "", session = "", participant = ""] = ["server", "session", "participant"].map((name) => parameters.get(name) ?? "");
document.body.setAttribute("server", server);
document.body.setAttribute("only", participant);
document.body.innerHTML = `
  <main>
    <sync-clock id="own" session="${session}"></sync-clock>
    <sync-board session="${session}"></sync-board>
    <sync-controls session="${session}"></sync-controls>
  </main>`;
