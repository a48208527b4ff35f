// A process that holds one connection for each session of its standard input, and prints its memory. The first argument
// is `client` for clients of this package, or `bare` for sockets that subscribe and forget each message.
import { text } from "node:stream/consumers";
import { WebSocket } from "ws";
import { connect } from "../../dist/index.js";

const [kind, url] = process.argv.slice(2);
const ids = (await text(process.stdin)).split(" ");

const open = {
  async client(id) {
    const client = connect(url, { WebSocket });
    const watch = client.watch(id);
    await watch.ready();
    return [client, watch];
  },
  bare: (id) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, ["synckairos.v3"]);
      socket.on("open", () => socket.send(JSON.stringify({ type: "SUBSCRIBE", session_id: id })));
      socket.on("message", () => resolve(socket));
    }),
};

const kept = [];
for (let at = 0; at < ids.length; at += 50) kept.push(...(await Promise.all(ids.slice(at, at + 50).map(open[kind]))));
await new Promise((resolve) => setTimeout(resolve, 3_000)); // The first measurements of the time are over then.
for (let round = 0; round < 3; round += 1) globalThis.gc();
const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
console.log(JSON.stringify({ kept: kept.length, processBytes: rss, heapBytes: heapUsed + external + arrayBuffers }));
process.exit(0);
