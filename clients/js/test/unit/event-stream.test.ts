// Batches of the transport without WebSockets.
import { expect, test } from "vitest";
import { EventStream } from "../../src/event-stream.js";
import { NamedTimers } from "../../src/named-timers.js";

const OPEN = 'event: open\ndata: {"stream_id":"s1"}\n\n';

/** Send messages by a stream whose server confirms each batch. Return the messages of each batch. */
async function batchesOf(messages: string[]): Promise<string[][]> {
  const batches: string[][] = [];
  const events = new TransformStream<Uint8Array, Uint8Array>();
  const writer = events.writable.getWriter();
  const write = (text: string): Promise<void> => writer.write(new TextEncoder().encode(text));
  let finish = (): void => {};
  const allArrived = new Promise<void>((resolve) => (finish = resolve));
  const fetch = async (url: unknown, options?: RequestInit): Promise<Response> => {
    if (String(url).includes("/v3/stream")) return new Response(events.readable);
    const body = JSON.parse(String(options?.body)) as { sequence: number; frames: string[] };
    batches.push(body.frames);
    void write(`event: received\ndata: ${body.sequence}\n\n`);
    if (batches.flat().length === messages.length) finish();
    return new Response(null, { status: 202 });
  };
  const timers = new NamedTimers({ after: () => () => {} } as never);
  const stream = new EventStream("http://server", "", "synckairos.v3", fetch as typeof globalThis.fetch, timers);
  stream.onopen = () => {
    for (const each of messages) stream.send(each);
  };
  void write(OPEN);
  await allArrived;
  stream.close();
  return batches;
}

test("a batch has at most 64 messages", async () => {
  const messages = Array.from({ length: 150 }, (_, index) => `m${index}`);
  const batches = await batchesOf(messages);
  expect(batches.map((each) => each.length)).toEqual([64, 64, 22]);
  expect(batches.flat()).toEqual(messages);
});

/** Refuse a message with `status`. Return the stream's close events, its timers by name, and a function for events. */
async function refused(status: number) {
  const events = new TransformStream<Uint8Array, Uint8Array>();
  const writer = events.writable.getWriter();
  const write = (text: string): Promise<void> => writer.write(new TextEncoder().encode(text));
  const closes: number[] = [];
  const due: (() => void)[] = [];
  const timers = new NamedTimers({ after: (_: number, run: () => void) => (due.push(run), () => {}) } as never);
  let answered = (): void => {};
  const isRefused = new Promise<void>((resolve) => (answered = resolve));
  const fetch = async (url: unknown): Promise<Response> => {
    if (String(url).includes("/v3/stream")) return new Response(events.readable);
    setTimeout(answered);
    return new Response(null, { status });
  };
  const stream = new EventStream("http://server", "", "synckairos.v3", fetch as typeof globalThis.fetch, timers);
  const isClosed = new Promise<void>((resolve) => {
    stream.onclose = ({ code }: { code: number }) => (closes.push(code), resolve());
  });
  stream.onopen = () => stream.send("m");
  void write(OPEN);
  await isRefused;
  return { closes, due, isClosed, write };
}

test("a message that is refused with 401 leaves the end to the close code of the stream", async () => {
  const { closes, isClosed, write } = await refused(401);
  expect(closes).toEqual([]);
  void write('event: close\ndata: {"code":4501,"reason":"revoked"}\n\n');
  await isClosed;
  expect(closes).toEqual([4501]);
});

test("without a close code, the stream ends some seconds after a message was refused with 401", async () => {
  const { closes, due } = await refused(401);
  expect(due.length).toBe(1);
  due[0]?.();
  expect(closes).toEqual([1006]);
});

test("a message that is refused with another status ends the stream at once", async () => {
  const { closes } = await refused(404);
  expect(closes).toEqual([1006]);
});

test("large messages travel in several batches, in their order", async () => {
  const messages = Array.from({ length: 7 }, (_, index) => `${index}`.repeat(60_000));
  const batches = await batchesOf(messages);
  expect(batches.map((each) => each.length)).toEqual([3, 3, 1]);
  expect(batches.flat()).toEqual(messages);
});
