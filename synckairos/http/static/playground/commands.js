// The commands of the playground: an example of the arguments of each, and the same command as code. Pure.

/** Return example arguments of each command, by its name, for a session. */
export function exampleArguments(session) {
  const ids = session.participants.map((each) => each.participant_id);
  const own = ids[0] ?? "0198c0de-0000-7000-8000-00000000000a";
  return {
    start: {},
    switch: {},
    done: { participant_id: own },
    finish: {},
    pause: { reason: "tea", max_ms: 60_000 },
    resume: {},
    adjust: { delta_ms: 30_000 },
    complete: {},
    cancel: {},
    add_participant: { participant_id: "0198c0de-0000-7000-8000-0000000000ff", display_name: "Newcomer" },
    remove_participant: { participant_id: own },
    update_participant: { participant_id: own, display_name: "Ada" },
    update_metadata: { metadata: { round: 2 } },
    update_session: { labels: { round: "2" } },
    set_plan: { plan: session.plan?.map(({ item_id, title, time_ms }) => ({ item_id, title, time_ms })) ?? [], expected_version: session.version },
    undo: { turns: 1 },
    reopen: { delta_ms: 60_000 },
    amend: { breaks: [] },
    announce: { text: "Five minutes left", tone: "warning" },
    screen: { mode: "focus" },
    delete: {},
  };
}

/** Method and end of the path of the commands that are not `POST /{command}`. `pid` moves from the arguments to the path. */
const ROUTES = {
  add_participant: ["POST", "/participants"],
  remove_participant: ["DELETE", "/participants/{pid}"],
  update_participant: ["PATCH", "/participants/{pid}"],
  update_metadata: ["PATCH", ""],
  update_session: ["PATCH", ""],
  set_plan: ["PUT", "/plan"],
  delete: ["DELETE", ""],
};

/** Return a command as code in `curl`, `js` or `python`. `serverUrl` ends with a slash. */
export function commandCode(language, serverUrl, sessionId, command, args) {
  return { curl: curlCode, js: jsCode, python: pythonCode }[language](serverUrl, sessionId, command, args);
}

function curlCode(serverUrl, sessionId, command, args) {
  const [method, end] = ROUTES[command] ?? ["POST", `/${command}`];
  const { participant_id: participant, ...others } = args;
  const isInPath = end.includes("{pid}");
  const path = `${serverUrl}v1/sessions/${sessionId}${end.replace("{pid}", participant)}`;
  const body = JSON.stringify(isInPath ? others : args).replaceAll("'", "'\\''");
  const data = method === "DELETE" ? "" : ` \\\n  -H 'Content-Type: application/json' -d '${body}'`;
  return `curl -X ${method} '${path}'${data}`;
}

const jsCode = (serverUrl, sessionId, command, args) => `import { connect } from "@synckairos/client";

const client = connect(${JSON.stringify(serverUrl)});
const ack = await client.command(${JSON.stringify(sessionId)}, ${JSON.stringify(command)}, ${JSON.stringify(args)});
console.log(ack.version);`;

const pythonCode = (serverUrl, sessionId, command, args) => `import asyncio

from synckairos_client import Client


async def main() -> None:
    url = ${JSON.stringify(`${serverUrl.replace(/^http/, "ws")}ws`)}
    async with Client(url) as client, client.watch(${JSON.stringify(sessionId)}) as session:
        ack = await session.command(${JSON.stringify(command)}, ${pythonText(args)})
        print(ack.version)


asyncio.run(main())`;

/** Return a JSON value as a Python expression. */
function pythonText(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonText).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${pythonText(each)}`).join(", ")}}`;
}
