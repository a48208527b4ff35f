import { expect, onTestFinished, test } from "vitest";
import { connect, type ConnectOptions } from "../../src/index.js";
import { loadPrediction } from "../../src/clock/predict.js";
import { FakeServer } from "../../src/testing/index.js";
import { ADA, BOB } from "../helpers.js";

const PEOPLE = [
  { participant_id: ADA, total_time_ms: 60_000 },
  { participant_id: BOB, total_time_ms: 60_000 },
];

async function watching(fields = {}, options: ConnectOptions = {}) {
  const server = new FakeServer();
  const session = server.createSession({ sync_mode: "per_participant", participants: PEOPLE, ...fields });
  const client = connect("ws://fake", { ...server.options, ...options });
  onTestFinished(() => client.close());
  const watch = client.watch(session.session_id);
  await watch.ready();
  await loadPrediction();
  await server.settle();
  return { server, client, watch };
}

test("time passes only when the test lets it pass", async () => {
  const { server, watch } = await watching();
  const texts: string[] = [];
  watch.onChange({ participant: ADA }, (text) => texts.push(text));
  await watch.command("start");
  await server.advance(1_500);
  await watch.command("switch");
  await server.advance(5_000);
  expect(texts).toEqual(["1:00", "0:59", "0:58"]);
  expect(watch.text({ participant: BOB })).toBe("0:55");
});

test("a session ends at its deadline, with an event", async () => {
  const { server, watch } = await watching();
  await watch.command("start");
  await server.advance(60_000);
  expect(watch.state).toMatchObject({ status: "expired", time_remaining_ms: 60_000 });
  expect(watch.events.map((each) => each.type)).toEqual(["session_expired"]);
});

test("a pause ends by itself", async () => {
  const { server, watch } = await watching();
  await watch.command("start");
  await watch.command("pause", { max_ms: 2_000 });
  await server.advance(1_999);
  expect(watch.state?.status).toBe("paused");
  await server.advance(1);
  expect(watch.state?.status).toBe("running");
});

test("a refusal is shown once and put right", async () => {
  const { server, watch } = await watching();
  await watch.command("start");
  server.refuseNext("RATE_LIMIT_EXCEEDED");
  const press = watch.command("switch").catch((error: unknown) => error);
  expect(watch.shown?.active_participant_id).toBe(BOB);
  expect(await press).toMatchObject({ code: "RATE_LIMIT_EXCEEDED", isTemporary: true });
  expect(watch.shown?.active_participant_id).toBe(ADA);
});

test("a press carries the turn that the user sees", async () => {
  const { server, watch } = await watching();
  await watch.command("start");
  const press = watch.command("switch").catch((error: unknown) => error);
  server.command(watch.sessionId, "switch");
  expect(await press).toMatchObject({ code: "TURN_OVER" });
  expect(watch.shown?.turn_number).toBe(2);
});

test("a client of a server that is away waits and comes back by itself", async () => {
  const { server, client, watch } = await watching();
  server.setAway(true);
  server.disconnect();
  await server.settle();
  expect(client.state).toMatchObject({ status: "reconnecting", code: 1006 });
  await server.advance(30_000);
  expect(client.state.status).toBe("reconnecting");
  server.setAway(false);
  server.command(watch.sessionId, "start");
  await server.advance(10_000);
  expect([client.state.status, watch.state?.status]).toEqual(["connected", "running"]);
});

test("a server that stops names the delay", async () => {
  const { server, client } = await watching();
  server.disconnect(4000);
  await server.settle();
  expect(client.state.code).toBe(4000);
  await server.advance(250);
  expect(client.state.status).toBe("connected");
});

test.each([4501, 4503, 4513, 4520])("the close code %d is permanent", async (code) => {
  const { server, client, watch } = await watching();
  server.disconnect(code, "the reason");
  await server.advance(60_000);
  expect(client.state).toEqual({ status: code === 4501 ? "unauthorized" : "closed", code, reason: "the reason" });
  expect(watch.error).not.toBeNull();
});

test("a device that slept shows no reading of a running clock until the time is measured anew", async () => {
  const { server, client, watch } = await watching();
  await watch.command("start");
  await server.settle();
  const texts: string[] = [];
  watch.onChange({ participant: ADA }, (text) => texts.push(text));
  server.device.sleep(20_000);
  expect([client.now(), client.errorMs, watch.reading(ADA)]).toEqual([null, Infinity, null]);
  expect(watch.text({ participant: BOB })).toBe("-:--");
  await server.settle();
  expect(watch.text({ participant: ADA })).toBe("0:40");
  expect(texts).toEqual(["1:00", "-:--", "0:40"]);
});

test("steps of the wall clock back change no reading", async () => {
  const { server, watch } = await watching();
  await watch.command("start");
  await server.advance(1_000);
  server.device.setWall(-3_600_000);
  expect(watch.reading(ADA)?.time_remaining_ms).toBe(59_000);
});

test("the token is renewed before it ends", async () => {
  const requests: boolean[] = [];
  const getToken = ({ force }: { force: boolean }) => {
    requests.push(force);
    return "token";
  };
  const { server } = await watching({}, { getToken });
  // The fake server gives each token an hour.
  await server.advance(3_539_000);
  expect(requests).toEqual([false]);
  await server.advance(1_000);
  expect(requests).toEqual([false, true]);
  expect(server.received.map((each) => each.type)).toContain("REFRESH");
});
