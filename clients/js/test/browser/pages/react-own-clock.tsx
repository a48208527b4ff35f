// A page of one participant in React: the hooks watch the row of one participant alone, which a button changes.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "../../../src/index.js";
import { SyncKairosProvider, useClock, useCommand, useSession, useSessionError } from "../../../src/react/index.js";

const parameters = new URLSearchParams(location.search);
const [server = "", session = "", participant = "", other = ""] = ["server", "session", "participant", "other"].map((name) => parameters.get(name) ?? "");
const client = connect(server);

function Own({ id }: { id: string }) {
  const text = useClock(session);
  const names = useSession(session, (each) => each?.participants.map((one) => `${one.display_name} ${one.status}`).join() ?? "");
  const command = useCommand(session);
  const error = useSessionError(session);
  return (
    <>
      <output id="clock">{text}</output>
      <p id="names">{names}</p>
      <p id="error">{error?.code ?? "fine"}</p>
      <button onClick={() => void command("finish", { participant_ids: [id] })}>Hand in</button>
    </>
  );
}

function Page() {
  const [only, setOnly] = useState(participant);
  return (
    <SyncKairosProvider client={client} only={only}>
      <Own id={only} />
      <button onClick={() => setOnly(other)}>Other</button>
    </SyncKairosProvider>
  );
}

const root = document.createElement("div");
document.body.append(root);
createRoot(root).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
