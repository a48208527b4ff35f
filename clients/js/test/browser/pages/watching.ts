// A page that watches one session and records what it shows.
import { connect, type ConnectOptions } from "../../../src/index.js";

declare global {
  interface Window {
    getToken?: (request: { force: boolean }) => Promise<string>;
  }
}

const parameters = new URLSearchParams(location.search);
const [server = "", session = "", participant = ""] = ["server", "session", "participant"].map((name) => parameters.get(name) ?? "");
const options: ConnectOptions = window.getToken ? { getToken: window.getToken } : {};
const client = connect(server, options);
const watch = client.watch(session);

const [text, status, version] = ["text", "status", "version"].map((id) => {
  const output = document.createElement("output");
  output.id = id;
  document.body.append(output);
  return output;
}) as [HTMLOutputElement, HTMLOutputElement, HTMLOutputElement];
const texts: string[] = [];
const states: string[] = [];
const frames: string[] = [];
client.onMessage(({ type, ...rest }) => frames.push("recovered" in rest ? `${type} ${String(rest.recovered)}` : type));
client.onState(({ status: now, code, reason }) => {
  states.push([now, code, reason].filter(Boolean).join(" "));
  status.value = now;
});
watch.onChange({ participant }, (shown) => {
  texts.push(shown);
  text.value = shown;
});
watch.subscribe(() => {
  version.value = `${watch.state?.version ?? 0} ${watch.shown?.active_participant_id ?? ""}`;
});
Object.assign(window, { client, watch, texts, states, frames });
