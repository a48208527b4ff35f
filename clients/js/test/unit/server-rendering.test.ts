import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../src/index.js";
import { SyncKairosProvider, useClock, usePresence, useSession } from "../../src/react/index.js";
import { FakeServer } from "../../src/testing/index.js";

test("a server renders the clock at the instant that it names", async () => {
  const server = new FakeServer();
  const client = connect("ws://fake", server.options);
  onTestFinished(() => client.close());
  const { session_id: id } = server.createSession({ sync_mode: "global", total_time_ms: 600_000, participants: [] });
  const session = server.command(id, "start");
  const Clock = () => `${useClock(id)} ${useSession(id, (each) => each?.status)} ${String(usePresence(id))} ${useClock("unknown")}`;
  const initial = { sessions: { [id]: session }, now: server.now() + 90_000 };
  const page = createElement(SyncKairosProvider, { client, initial, children: createElement(Clock) });
  expect(renderToString(page)).toBe("8:30 running null -:--");
});

test("the elements can be imported where there are none", async () => {
  const { SyncClock } = await import("../../src/elements/index.js");
  expect(SyncClock).toBeTypeOf("function");
});
