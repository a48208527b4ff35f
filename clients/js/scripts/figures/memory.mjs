// The memory of 1,000 clients that watch 1,000 sessions in one Node process, beside 1,000 bare sockets of `ws`.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const CLIENTS = 1_000;
const PARALLEL = 20;
const program = fileURLToPath(new URL("memory-clients.mjs", import.meta.url));

/** Return the memory of the process with clients, divided by that of the process with bare sockets. */
export async function measureMemory(serverUrl) {
  const ids = [];
  for (let at = 0; at < CLIENTS; at += PARALLEL) {
    ids.push(...(await Promise.all(Array.from({ length: PARALLEL }, () => createSession(serverUrl)))));
  }
  const [client, bare] = [await measure("client", serverUrl, ids), await measure("bare", serverUrl, ids)];
  return [
    { name: "memory of 1,000 clients, whole process", ratio: client.processBytes / bare.processBytes, limit: 1.5 },
    { name: "memory of 1,000 clients, objects in use", ratio: client.heapBytes / bare.heapBytes, limit: null },
  ];
}

async function createSession(serverUrl) {
  const participants = [1, 2].map((at) => ({ participant_id: crypto.randomUUID(), display_name: `Player ${at}`, total_time_ms: 600_000 }));
  const body = JSON.stringify({ sync_mode: "per_participant", participants });
  const answer = await fetch(`${serverUrl}/v1/sessions`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).data.session_id;
}

async function measure(kind, serverUrl, ids) {
  const child = promisify(execFile)(process.execPath, ["--expose-gc", program, kind, serverUrl]);
  child.child.stdin.end(ids.join(" "));
  return JSON.parse((await child).stdout);
}
