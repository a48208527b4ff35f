// A page with the elements of one session.
import "../../../src/elements/index.js";

const parameters = new URLSearchParams(location.search);
const [server, session, participant, sound] = ["server", "session", "participant", "sound"].map((name) => parameters.get(name) ?? "");
document.body.setAttribute("server", server ?? "");
document.body.innerHTML = `
  <main>
    <sync-board session="${session}"></sync-board>
    <sync-clock id="own" ${sound ? "sound" : ""} session="${session}" participant="${participant}"></sync-clock>
    <sync-clock id="stage" face="stage" session="${session}"></sync-clock>
    <sync-controls session="${session}" participant="${participant}"></sync-controls>
  </main>`;
if (sound === "prevented") addEventListener("lowtime", (event) => event.preventDefault());
const log: string[] = [];
for (const type of ["lowtime", "milestone", "refused"]) addEventListener(type, (event) => log.push(`${type} ${(event as CustomEvent).detail.words ?? ""}`.trim()));
const own = document.querySelector("#own")?.shadowRoot as ShadowRoot;
const watched = { subtree: true, childList: true, characterData: true };
new MutationObserver(() => log.push(own.querySelector("[part=words]")?.textContent ?? "")).observe(own, watched);
Object.assign(window, { log });
