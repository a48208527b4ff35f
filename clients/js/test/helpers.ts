// Helpers of the tests against a real server.
import { afterEach, beforeEach, describe, inject, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { connect, type ConnectOptions, type CreateSession, type Session, type SyncKairosClient, type Transport } from "../src/index.js";
import type { WebSocketClass } from "../src/environment.js";
import { Proxy } from "./proxy.js";

export const ADA = "0198c0de-0000-7000-8000-00000000000a";
export const BOB = "0198c0de-0000-7000-8000-00000000000b";

let transport: Transport | undefined;

/** Define tests once for each transport. Their clients of `connectTo` use it. */
export function onEachTransport(define: () => void): void {
  describe.each<Transport>(["websocket", "event-stream"])("over %s", (each) => {
    beforeEach(() => {
      transport = each;
    });
    afterEach(() => {
      transport = undefined;
    });
    define();
  });
}

/** Connect to a server. The client is closed after the test. */
export function connectTo(url: string, options: ConnectOptions = {}): SyncKairosClient {
  const client = connect(url, { WebSocket: WebSocket as unknown as WebSocketClass, ...(transport && { transport }), ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Start a proxy in front of a server. It is closed after the test. */
export async function proxyTo(url = inject("serverUrl"), delayMs = 0): Promise<Proxy> {
  const proxy = await Proxy.start(url, delayMs);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Create a session of two participants with ten minutes each. */
export async function createSession(fields: Partial<CreateSession> = {}): Promise<Session> {
  const client = connectTo(inject("serverUrl"));
  return client.api.sessions.create({
    sync_mode: "per_participant",
    participants: [
      { participant_id: ADA, display_name: "Ada", total_time_ms: 600_000 },
      { participant_id: BOB, display_name: "Bob", total_time_ms: 600_000 },
    ],
    ...fields,
  });
}

/** Resolve when `check` returns something. `check` runs now and after each call of the listener that `listen` adds. */
export function eventually<Value>(
  listen: (listener: () => void) => () => void,
  check: () => Value | null | undefined | false,
): Promise<Value> {
  return new Promise((resolve) => {
    const remove = listen(() => attempt());
    const attempt = () => {
      const value = check();
      if (value === null || value === undefined || value === false) return;
      remove();
      resolve(value);
    };
    attempt();
  });
}

/** Resolve when the connection of a client has a status. */
export const reaches = (client: SyncKairosClient, status: string): Promise<unknown> =>
  eventually(
    (listener) => client.onState(listener),
    () => client.state.status === status && client.state,
  );
