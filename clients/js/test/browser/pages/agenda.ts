// A page with the agenda and the controls of one session.
import "../../../src/elements/index.js";

const parameters = new URLSearchParams(location.search);
const session = parameters.get("session") ?? "";
document.body.setAttribute("server", parameters.get("server") ?? "");
document.body.innerHTML = `
  <main>
    <sync-agenda session="${session}"></sync-agenda>
    <sync-controls session="${session}"></sync-controls>
  </main>`;
