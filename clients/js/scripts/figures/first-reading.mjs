// The time from `connect` to the first reading, through a network with a delay, in round trips of this network.
import { connect, createServer } from "node:net";

const ONE_WAY_MS = 100;
const ROUNDS = 5;

/** Return the median figures, from the call of `connect` and from the instant at which the connection is open. */
export async function measureFirstReading(pages, serverUrl) {
  const id = await startSession(serverUrl);
  const network = await startNetwork(new URL(serverUrl));
  const { browser, page } = await pages.open("");
  try {
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push(await page.evaluate(firstReading, [network.url, id]));
    const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] / (2 * ONE_WAY_MS);
    return [
      { name: "first reading after the call of connect", roundTrips: median(rounds.map(({ called }) => called)), limit: null },
      { name: "first reading after the connection is open", roundTrips: median(rounds.map(({ opened }) => opened)), limit: 1.5 },
    ];
  } finally {
    await browser.close();
    await network.close();
  }
}

/** Runs in the page: connect, and return the milliseconds until the first reading. */
async function firstReading([url, id]) {
  const { connect } = await import("/index.js");
  const opened = new Promise((resolve) => {
    globalThis.ObservedSocket = class extends WebSocket {
      constructor(...given) {
        super(...given);
        this.addEventListener("open", () => resolve(performance.now()));
      }
    };
  });
  const calledMs = performance.now();
  const client = connect(url, { WebSocket: globalThis.ObservedSocket });
  const watch = client.watch(id);
  const readMs = await new Promise((resolve) => watch.subscribe(() => watch.reading() && resolve(performance.now())));
  client.close();
  return { called: readMs - calledMs, opened: readMs - (await opened) };
}

async function startSession(serverUrl) {
  const post = async (path, body) => {
    const answer = await fetch(`${serverUrl}/v1/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).data;
  };
  const { session_id } = await post("sessions", { sync_mode: "global", total_time_ms: 3_600_000, participants: [] });
  await post(`sessions/${session_id}/start`, {});
  return session_id;
}

/** Start a TCP proxy that delays all bytes. It accepts connections without a delay. */
async function startNetwork(target) {
  const sockets = new Set();
  const pipe = (from, to) => {
    sockets.add(from);
    from.on("data", (bytes) => setTimeout(() => to.writable && to.write(bytes), ONE_WAY_MS));
    from.on("error", () => {});
    from.on("close", () => to.destroy());
  };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: Number(target.port), host: target.hostname, noDelay: true });
    pipe(client, upstream);
    pipe(upstream, client);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
