import { expect, inject, test } from "vitest";
import { Unauthorized } from "../../src/index.js";
import { connectTo, eventually, onEachTransport, proxyTo, reaches } from "../helpers.js";
import { signToken } from "../tokens.js";

const server = () => inject("authUrl");

async function createSession(): Promise<string> {
  const { api } = connectTo(server(), { token: signToken() });
  return (await api.sessions.create({ sync_mode: "global", total_time_ms: 600_000 })).session_id;
}

onEachTransport(() => {
  test("a token lets a client watch and command", async () => {
    const watch = connectTo(server(), { token: signToken() }).watch(await createSession());
    await watch.ready();
    expect((await watch.command("start")).version).toBe(2);
  });

  test("a ticket lets a client watch, and each connection takes a new one", async () => {
    const id = await createSession();
    const { api } = connectTo(server(), { token: signToken() });
    const proxy = await proxyTo(server());
    let tickets = 0;
    const getTicket = async () => {
      tickets += 1;
      return (await api.tickets.create({})).ticket;
    };
    const client = connectTo(proxy.url, { getTicket });
    await client.watch(id).ready();
    proxy.drop();
    await reaches(client, "reconnecting");
    await reaches(client, "connected");
    expect(tickets).toBe(2);
  });

  test("without a credential the client ends as unauthorized", async () => {
    const client = connectTo(server());
    const watch = client.watch(crypto.randomUUID());
    await expect(watch.ready()).rejects.toBeInstanceOf(Unauthorized);
    expect(client.state).toMatchObject({ status: "unauthorized", code: 4501 });
  });

  test("a refused token is replaced once by a fresh one", async () => {
    const requests: boolean[] = [];
    const getToken = ({ force }: { force: boolean }) => {
      requests.push(force);
      return force ? signToken() : "not.a.token";
    };
    const client = connectTo(server(), { getToken });
    await client.watch(await createSession()).ready();
    expect(requests).toEqual([false, true]);
  });

  test("a token that stays refused ends the client", async () => {
    const client = connectTo(server(), { getToken: async () => "not.a.token" });
    await reaches(client, "unauthorized");
  });

  test("a getToken that fails is asked again", async () => {
    let calls = 0;
    const getToken = async () => {
      calls += 1;
      if (calls === 1) throw new Error("the backend is away");
      return signToken();
    };
    const client = connectTo(server(), { getToken });
    await reaches(client, "connected");
    expect(calls).toBe(2);
  });

  test("the token is renewed on the open connection before it expires", async () => {
    const proxy = await proxyTo(server());
    let calls = 0;
    // A short-lived token: the server announces its end at once.
    const getToken = () => signToken("alice", ++calls === 1 ? 20 : 600);
    const client = connectTo(proxy.url, { getToken });
    const statuses: string[] = [];
    client.onState(({ status }) => statuses.push(status));
    const renewed = new Promise<number>((resolve) => {
      client.onMessage((message) => {
        if (message.type === "AUTHENTICATED" && message.expires_in_ms > 500_000) resolve(message.expires_in_ms);
      });
    });
    await client.watch(await createSession()).ready();
    await renewed;
    expect([calls, statuses]).toEqual([2, ["connected"]]);
  });

  test("an expired token is replaced with a new connection", async () => {
    const requests: boolean[] = [];
    const getToken = async ({ force }: { force: boolean }) => {
      requests.push(force);
      // The renewal on the open connection fails, as in a page whose device slept.
      if (requests.length === 2) throw new Error("the backend is away");
      return signToken("alice", requests.length === 1 ? 2 : 600);
    };
    const client = connectTo(server(), { getToken });
    const id = await createSession();
    await client.watch(id).ready();
    expect(await eventually((listener) => client.onState(listener), () => client.state.code)).toBe(4005);
    await reaches(client, "connected");
    expect(requests).toEqual([false, true, true]);
  });

  test("a revoked credential ends the client", async () => {
    const id = await createSession();
    const { api } = connectTo(server(), { token: signToken() });
    const client = connectTo(server(), { token: signToken("mallory") });
    const watch = client.watch(id);
    await watch.ready();
    await api.revocations.create({ subject: "mallory" });
    await expect(watch.reach(99)).rejects.toBeInstanceOf(Unauthorized);
    expect(client.state).toMatchObject({ status: "unauthorized", code: 4501 });
  });

  test("a server without authentication accepts a client with a token", async () => {
    const client = connectTo(inject("serverUrl"), { token: "any" });
    const { session_id } = await client.api.sessions.create({ sync_mode: "global", total_time_ms: 60_000 });
    expect((await client.watch(session_id).ready()).version).toBe(1);
    client.reconnect();
    expect(client.state).toMatchObject({ status: "reconnecting", code: 1006, reason: "the client reconnects" });
    await reaches(client, "connected");
  });
});
