import { expect, inject, test } from "vitest";
import { CommandRefused, RequestFailed, SessionDeleted, SessionNotFound, type SessionEvent } from "../../src/index.js";
import { ADA, BOB, connectTo, createSession, eventually, onEachTransport, proxyTo, reaches } from "../helpers.js";

const server = () => inject("serverUrl");

onEachTransport(() => {
  test("a watch gets the state, each change and the presence", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const watch = client.watch(session_id);
    expect(watch.state).toBeNull();
    expect((await watch.ready()).status).toBe("pending");
    const { version } = await watch.command("start");
    expect((await watch.reach(version)).status).toBe("running");
    expect(watch.state).toEqual(await client.api.sessions.get(session_id));
    expect((await eventually((listener) => watch.subscribe(listener), () => watch.presence)).clients).toBe(1);
  });

  test("all watches of a session share one subscription, which ends with the last watch", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const other = connectTo(server());
    const observer = other.watch(session_id);
    const first = client.watch(session_id);
    const second = client.watch(session_id.toUpperCase());
    await second.ready();
    expect(first.state).toBe(second.state);
    const clients = (count: number) =>
      eventually((listener) => observer.subscribe(listener), () => observer.presence?.clients === count);
    await clients(2);
    first.close();
    first.close();
    expect((await second.command("start")).version).toBe(2);
    second.close();
    await clients(1);
  });

  test("a watch of one row gets this row alone", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const watch = client.watch(session_id, { only: BOB.toUpperCase() });
    expect((await watch.ready()).participants.map((each) => each.participant_id)).toEqual([BOB]);
    const started = watch.command("start");
    // Without the row of Ada, whose turn comes first, the client does not know who has the turn.
    expect(watch.shown?.status).toBe("pending");
    const { version } = await started;
    const state = await watch.reach(version);
    const whole = await client.api.sessions.get(session_id);
    expect(state.participants).toEqual(whole.participants.filter((each) => each.participant_id === BOB));
    expect(() => client.watch(session_id)).toThrow("another value of only");
    const same = client.watch(session_id, { only: BOB });
    expect(same.state).toBe(watch.state);
    same.close();
    watch.close();
    // The next watch has other rows, also while the subscription still waits for a next watch.
    const next = client.watch(session_id, { only: ADA });
    expect((await next.ready()).participants.map((each) => each.participant_id)).toEqual([ADA]);
  });

  test("the server's time has an error bound that holds", async () => {
    const proxy = await proxyTo(server(), 20);
    const client = connectTo(proxy.url);
    const { session_id } = await createSession();
    const watch = client.watch(session_id);
    await eventually((listener) => watch.subscribe(listener), () => client.now());
    // The wall clock of this machine is the clock of the server.
    const now = client.now() as number;
    expect(Math.abs(now - Date.now())).toBeLessThanOrEqual(client.errorMs + 1);
    expect(client.errorMs).toBeGreaterThanOrEqual(20);
  });

  test("a command takes effect once, although its connection breaks before the answer", async () => {
    const { session_id } = await createSession();
    const proxy = await proxyTo();
    const client = connectTo(proxy.url);
    const watch = client.watch(session_id);
    await watch.ready();
    await watch.reach((await watch.command("start")).version);
    proxy.block();
    const press = watch.command("switch", { current_participant_id: ADA });
    proxy.drop();
    const { version } = await press;
    expect(version).toBe(3);
    const state = await watch.reach(version);
    expect([state.active_participant_id, state.turn_number]).toEqual([BOB, 2]);
  });

  test("a command with the same id has the same answer", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const first = await client.command(session_id, "start", {}, { id: "start-1" });
    const second = await connectTo(server()).command(session_id, "start", {}, { id: "start-1" });
    expect(second).toEqual(first);
  });

  test("a refused command rejects with the code and details of the server", async () => {
    const { session_id } = await createSession();
    const error = await connectTo(server()).command(session_id, "pause").catch((each: unknown) => each);
    expect(error).toBeInstanceOf(CommandRefused);
    expect(error).toMatchObject({ code: "INVALID_STATE_TRANSITION", isTemporary: false });
  });

  test("a press names the turn that the user sees, so that a late second press is refused", async () => {
    const { session_id } = await createSession();
    const slow = connectTo((await proxyTo(server(), 100)).url);
    const fast = connectTo(server());
    const slowWatch = slow.watch(session_id);
    const fastWatch = fast.watch(session_id);
    await Promise.all([slowWatch.ready(), fastWatch.ready()]);
    const { version } = await fastWatch.command("start");
    await Promise.all([slowWatch.reach(version), fastWatch.reach(version)]);
    const late = slowWatch.command("switch").catch((each: unknown) => each);
    await fastWatch.command("switch");
    expect(await late).toMatchObject({ code: "TURN_OVER", details: { expected_turn: 1, turn_number: 2 } });
    const after = await fast.api.sessions.get(session_id);
    expect([after.turn_number, after.active_participant_id]).toEqual([2, BOB]);
  });

  test("a switch without a guard is possible", async () => {
    const { session_id } = await createSession();
    const watch = connectTo(server()).watch(session_id);
    await watch.ready();
    const { version } = await watch.command("start");
    await watch.reach(version);
    const answers = await Promise.all([
      watch.command("switch", {}, { expectedTurn: null, optimistic: false }),
      watch.command("switch", {}, { expectedTurn: null, optimistic: false }),
    ]);
    expect(answers.map((each) => each.version)).toEqual([3, 4]);
  });

  test("a client that was away resumes with the events and without a gap", async () => {
    const { session_id } = await createSession({ warnings_ms: [599_999] });
    const proxy = await proxyTo();
    const client = connectTo(proxy.url);
    const watch = client.watch(session_id);
    await watch.ready();
    const events: SessionEvent[] = [];
    const gaps: boolean[] = [];
    watch.onEvent((event) => events.push(event));
    watch.onUpdate(({ hasGap }) => gaps.push(hasGap));
    proxy.refuse(true);
    proxy.drop();
    await reaches(client, "reconnecting");
    const observer = connectTo(server()).watch(session_id);
    await observer.ready();
    await observer.command("start");
    await eventually((listener) => observer.onEvent(listener), () => observer.events.length > 0);
    proxy.refuse(false);
    client.wake();
    await watch.reach(3);
    expect(events.map((each) => [each.type, each.participantId])).toEqual([["time_warning", ADA]]);
    expect(watch.state).toEqual(observer.state);
    expect(gaps).not.toContain(true);
  });

  test("a full state after missed versions that the server no longer has says that there is a gap", async () => {
    const { session_id } = await createSession();
    const proxy = await proxyTo();
    const client = connectTo(proxy.url);
    const watch = client.watch(session_id);
    await watch.ready();
    proxy.refuse(true);
    proxy.drop();
    await reaches(client, "reconnecting");
    const { api } = connectTo(server());
    await api.sessions.delete(session_id);
    await createSession({ session_id });
    const gap = new Promise<boolean>((resolve) => watch.onUpdate(({ hasGap }) => resolve(hasGap)));
    proxy.refuse(false);
    client.wake();
    expect(await gap).toBe(true);
  });

  test("a session that does not exist ends its watch, and another session can be watched", async () => {
    const client = connectTo(server());
    const missing = client.watch(crypto.randomUUID());
    await expect(missing.ready()).rejects.toBeInstanceOf(SessionNotFound);
    const { session_id } = await createSession();
    expect((await client.watch(session_id).ready()).version).toBe(1);
  });

  test("a deleted session ends its watch", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const watch = client.watch(session_id);
    await watch.ready();
    await client.api.sessions.delete(session_id);
    await expect(watch.reach(99)).rejects.toBeInstanceOf(SessionDeleted);
  });

  test("a server that is away is tried again until it is back", async () => {
    const proxy = await proxyTo();
    proxy.refuse(true);
    const { session_id } = await createSession();
    const client = connectTo(proxy.url);
    const watch = client.watch(session_id);
    await reaches(client, "reconnecting");
    expect(client.state.code).toBe(1006);
    proxy.refuse(false);
    await watch.ready();
    expect(client.state.status).toBe("connected");
  });

  test("an aborted command stops to wait, and its id tells the outcome later", async () => {
    const { session_id } = await createSession();
    const proxy = await proxyTo();
    const client = connectTo(proxy.url);
    await client.watch(session_id).ready();
    proxy.block();
    const controller = new AbortController();
    const start = client.command(session_id, "start", {}, { id: "start-2", signal: controller.signal });
    controller.abort(new Error("the user left"));
    await expect(start).rejects.toThrow("the user left");
    proxy.drop();
    expect((await client.command(session_id, "start", {}, { id: "start-2" })).version).toBe(2);
  });

  test("closing a client ends watches and commands", async () => {
    const { session_id } = await createSession();
    const client = connectTo(server());
    const watch = client.watch(session_id);
    await watch.ready();
    const pending = client.command(session_id, "start");
    client.close();
    await expect(pending).rejects.toMatchObject({ code: "CLIENT_CLOSED" });
    expect(watch.error).toMatchObject({ code: "CLIENT_CLOSED" });
    expect(() => client.watch(session_id)).toThrow();
  });

  test("REST has typed operations, pages and errors", async () => {
    const { api } = connectTo(server());
    const created = await createSession({ metadata: { room: "a" } });
    const updated = await api.sessions.update(created.session_id, { metadata: { room: "b" } });
    expect(updated.metadata).toEqual({ room: "b" });
    const page = await api.sessions.events(created.session_id, { limit: 1 });
    expect(page.data).toHaveLength(1);
    expect(page.next_cursor).toBeTypeOf("string");
    const missing = await api.sessions.get(crypto.randomUUID()).catch((each: unknown) => each);
    expect(missing).toBeInstanceOf(RequestFailed);
    expect(missing).toMatchObject({ code: "SESSION_NOT_FOUND", status: 404 });
  });

  test("a REST request is repeated with the same key until there is an answer", async () => {
    const proxy = await proxyTo();
    let requests = 0;
    const client = connectTo(proxy.url, {
      async fetch(...given) {
        const response = await fetch(...given);
        if (!String(given[0]).includes("/v1/")) return response;
        requests += 1;
        if (requests === 1) throw new TypeError("the answer is lost");
        return response;
      },
    });
    const session_id = crypto.randomUUID();
    const created = await client.api.sessions.create({ session_id, sync_mode: "global", total_time_ms: 60_000 });
    expect([created.session_id, requests]).toEqual([session_id, 2]);
  });
});
