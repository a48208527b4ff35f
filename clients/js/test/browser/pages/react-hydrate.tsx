// A page that a server rendered: the same elements are rendered to text first, and then hydrated.
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server.browser";
import { connect, type Session } from "../../../src/index.js";
import { SyncKairosProvider, useClock, useSession } from "../../../src/react/index.js";

const parameters = new URLSearchParams(location.search);
const [server = "", id = ""] = ["server", "session"].map((name) => parameters.get(name) ?? "");
const { data } = (await (await fetch(`${server}/v1/sessions/${id}`)).json()) as { data: Session };
const { timestamp_ms: now } = (await (await fetch(`${server}/v1/time`)).json()) as { timestamp_ms: number };

function Clock() {
  return <output>{`${useClock(id)} ${useSession(id, (session) => session?.version)}`}</output>;
}

const app = (
  <SyncKairosProvider client={connect(server)} initial={{ sessions: { [id]: data }, now: now - 60_000 }}>
    <Clock />
  </SyncKairosProvider>
);
const root = document.createElement("div");
root.innerHTML = renderToString(app);
document.body.append(root);
const errors: string[] = [];
const texts = [root.textContent];
new MutationObserver(() => texts.push(root.textContent)).observe(root, { subtree: true, childList: true, characterData: true });
hydrateRoot(root, app, { onRecoverableError: (error) => errors.push(String(error)) });
Object.assign(window, { errors, texts });
