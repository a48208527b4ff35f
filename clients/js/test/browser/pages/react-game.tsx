// A game in React: two components show the same clock, others show selections. The page counts renders.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "../../../src/index.js";
import { SyncKairosProvider, useClock, useCommand, useConnection, usePresence, useSession, useSessionError } from "../../../src/react/index.js";

const parameters = new URLSearchParams(location.search);
const [server = "", session = "", participant = ""] = ["server", "session", "participant"].map((name) => parameters.get(name) ?? "");
const client = connect(server);
const renders: Record<string, unknown[]> = { clock: [], status: [], names: [] };

function Clock({ id }: { id: string }) {
  const text = useClock(session, participant);
  if (id === "one") renders.clock?.push(text);
  return <output id={id}>{text}</output>;
}

function Status() {
  const status = useSession(session, (each) => each?.status);
  renders.status?.push(status);
  return <p id="status">{status ?? "loading"}</p>;
}

function Names() {
  const names = useSession(session, (each) => each?.participants.map((one) => one.display_name) ?? []);
  renders.names?.push(names.join());
  return <p id="names">{names.join()}</p>;
}

function Others() {
  const clients = usePresence(session)?.clients;
  const none = useSession(null);
  return <p id="others">{`${clients ?? "?"} ${none === null} ${useClock(null)} ${useConnection().status} ${useSessionError(session)?.code ?? "fine"}`}</p>;
}

function Game() {
  const [isShown, show] = useState(true);
  const command = useCommand(session);
  return (
    <>
      <button onClick={() => void command("start")}>Start</button>
      <button onClick={() => void command("switch")}>Press</button>
      <button onClick={() => show(!isShown)}>Toggle</button>
      <Clock id="one" />
      {isShown && <Clock id="two" />}
      <Status />
      <Names />
      <Others />
    </>
  );
}

/** Texts of both clocks after each change of the page that differed from each other. */
const torn: string[] = [];
new MutationObserver(() => {
  const [one, two] = ["one", "two"].map((id) => document.getElementById(id)?.textContent);
  if (two !== undefined && one !== two) torn.push(`${one} ${two}`);
}).observe(document.body, { subtree: true, childList: true, characterData: true });

const root = document.createElement("div");
document.body.append(root);
const game = (
  <SyncKairosProvider client={client}>
    <Game />
  </SyncKairosProvider>
);
createRoot(root).render(parameters.get("strict") ? <StrictMode>{game}</StrictMode> : game);
Object.assign(window, { renders, torn });
