// The change of transport: from blocked WebSockets to an event stream, and back.
import { expect, inject, test } from "vitest";
import { deviceClock, type DeviceClock } from "../../src/local-clock.js";
import { ADA, BOB, connectTo, createSession, eventually, proxyTo, reaches } from "../helpers.js";

/** Milliseconds until the first trial of a WebSocket, see `transport-choice.ts`. */
const FIRST_TRIAL_MS = 20_000;

/** A device whose client does not wait for its trials of WebSockets. */
const impatient: DeviceClock = {
  ...deviceClock,
  after: (delayMs, call) => deviceClock.after(delayMs >= FIRST_TRIAL_MS ? 20 : delayMs, call),
};

/** A device whose client does not wait for its next attempt to connect. Limits of 10 s and more stay as they are. */
const quick: DeviceClock = {
  ...deviceClock,
  after: (delayMs, call) => deviceClock.after(delayMs < 10_000 ? Math.min(delayMs, 20) : delayMs, call),
};

async function blockedClient(device?: DeviceClock) {
  const { session_id } = await createSession();
  const proxy = await proxyTo();
  proxy.blockUpgrades(true);
  const client = connectTo(proxy.url, device ? { device } : {});
  const watch = client.watch(session_id);
  await watch.ready();
  return { client, proxy, session_id, watch };
}

test("after two failed upgrades the client uses an event stream with the same features", async () => {
  const { client, proxy, session_id, watch } = await blockedClient();
  expect([client.transport, proxy.refusedUpgrades]).toEqual(["event-stream", 2]);
  const other = connectTo(inject("serverUrl"));
  await watch.reach((await watch.command("start")).version);
  const { version } = await other.command(session_id, "switch", { current_participant_id: ADA });
  expect((await watch.reach(version)).active_participant_id).toBe(BOB);
  expect(watch.state).toEqual(await client.api.sessions.get(session_id));
  expect((await eventually((listener) => watch.subscribe(listener), () => watch.presence)).clients).toBe(1);
  expect(client.errorMs).toBeLessThan(1_000);
  expect(other.transport).toBe("websocket");
});

test("a press takes effect once, although its request breaks before the answer", async () => {
  const { proxy, watch } = await blockedClient();
  await watch.reach((await watch.command("start")).version);
  proxy.block();
  const press = watch.command("switch", { current_participant_id: ADA });
  proxy.drop();
  const { version } = await press;
  expect((await watch.reach(version)).turn_number).toBe(2);
});

test("the client resumes on the next stream without a lost event", async () => {
  const { client, proxy, session_id, watch } = await blockedClient();
  await watch.reach((await watch.command("start")).version);
  const gaps: boolean[] = [];
  watch.onUpdate((update) => gaps.push(update.hasGap));
  proxy.refuse(true);
  proxy.drop();
  await reaches(client, "reconnecting");
  const other = connectTo(inject("serverUrl"));
  const { version } = await other.command(session_id, "switch", { current_participant_id: ADA });
  proxy.refuse(false);
  await watch.reach(version);
  expect(gaps).not.toContain(true);
});

test("the client returns to a WebSocket when it can, and misses nothing", async () => {
  const { client, proxy, watch } = await blockedClient(impatient);
  expect(client.transport).toBe("event-stream");
  const gaps: boolean[] = [];
  watch.onUpdate((update) => gaps.push(update.hasGap));
  await watch.command("start");
  proxy.blockUpgrades(false);
  await eventually(
    (listener) => client.onState(listener),
    () => client.transport === "websocket" && client.state.status === "connected",
  );
  const { version } = await watch.command("switch", { current_participant_id: ADA });
  await watch.reach(version);
  expect(version).toBe(3);
  expect(gaps).not.toContain(true);
});

test("while the server is away, both transports take turns", async () => {
  const { session_id } = await createSession();
  const proxy = await proxyTo();
  proxy.refuse(true);
  const client = connectTo(proxy.url, { device: quick });
  const used: string[] = [];
  await eventually(
    (listener) => client.onState(listener),
    () => used.push(client.transport) >= 7,
  );
  expect(used.slice(1)).toEqual(["websocket", "websocket", "event-stream", "websocket", "event-stream", "websocket"]);
  proxy.refuse(false);
  await client.watch(session_id).ready();
});

test("the option transport selects one transport", async () => {
  const { session_id } = await createSession();
  const client = connectTo(inject("serverUrl"), { transport: "event-stream" });
  await client.watch(session_id).ready();
  expect(client.transport).toBe("event-stream");
  const proxy = await proxyTo();
  proxy.blockUpgrades(true);
  const blocked = connectTo(proxy.url, { transport: "websocket" });
  await eventually(
    (listener) => blocked.onState(listener),
    () => proxy.refusedUpgrades > 3,
  );
  expect(blocked.transport).toBe("websocket");
});
