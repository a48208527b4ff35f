// The JavaScript client as a process that a test controls: JSON requests on stdin, JSON answers and notices on stdout.
// `tests/conformance/python_adapter.py` of the repository describes the messages.
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import type { WebSocketClass } from "../../src/environment.js";
import { connect, SyncKairosError, type SyncKairosClient, type Transport, type Watch } from "../../src/index.js";
import { deviceClock } from "../../src/local-clock.js";

interface Request {
  id: number;
  op: keyof typeof operations;
  args: Record<string, never>;
}

let client: SyncKairosClient;
let watch: Watch;
let sleptMs = 0;
const tokens: string[] = [];
const waitingForToken: ((token: string) => void)[] = [];

const write = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);

const getToken = () => {
  write({ notice: "token" });
  const prepared = tokens.shift();
  return prepared ?? new Promise<string>((resolve) => waitingForToken.push(resolve));
};

const operations = {
  connect(given: { url: string; token?: string; asks_tokens?: boolean; transport: Transport }) {
    const credential = given.asks_tokens ? { getToken } : given.token ? { token: given.token } : {};
    client = connect(given.url, {
      ...credential,
      transport: given.transport,
      WebSocket: WebSocket as unknown as WebSocketClass,
      device: { ...deviceClock, monotonicMs: () => performance.now() - sleptMs },
    });
  },

  async watch({ session_id: sessionId }: { session_id: string }) {
    watch = client.watch(sessionId);
    let isEnded = false;
    watch.onUpdate(({ state, events, hasGap }) => {
      const shown = events.map(({ type, version }) => ({ type, version }));
      write({ notice: "update", version: state.version, epoch: state.epoch, events: shown, gap: hasGap });
    });
    watch.subscribe(() => {
      if (!watch.error || isEnded) return;
      isEnded = true;
      write({ notice: "ended", code: watch.error.code });
    });
    await watch.ready();
    // The first reading needs one measurement of the server's time.
    while (client.now() === null) await new Promise((resolve) => setTimeout(resolve, 5));
  },

  async command(given: { name: "switch"; args: object; command_id?: string; has_guard?: boolean }) {
    const { name, args, command_id: id, has_guard: hasGuard = true } = given;
    const ack = await watch.command(name, args, { ...(id ? { id } : {}), ...(hasGuard ? {} : { expectedTurn: null }) });
    return { version: ack.version, epoch: ack.epoch };
  },

  read() {
    const now = client.now();
    const reading = watch.reading();
    if (now === null || reading === null) return { now_ms: null, error_ms: null, remaining_ms: null };
    return { now_ms: now, error_ms: client.errorMs, remaining_ms: reading.time_remaining_ms };
  },

  document: () => watch.state,

  token({ token }: { token: string }) {
    const waiting = waitingForToken.shift();
    if (waiting) waiting(token);
    else tokens.push(token);
  },

  sleep({ seconds }: { seconds: number }) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
    sleptMs += seconds * 1000;
  },
};

async function answer({ id, op, args }: Request): Promise<void> {
  try {
    const result = await (operations[op] as (args: object) => unknown)(args);
    write({ id, result: result ?? null });
  } catch (error) {
    if (!(error instanceof SyncKairosError)) throw error;
    write({ id, error: error.code });
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => void answer(JSON.parse(line) as Request))
  .on("close", () => process.exit(0));
