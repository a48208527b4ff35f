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

test("large messages travel in several batches, in their order", async () => {
  const messages = Array.from({ length: 7 }, (_, index) => `${index}`.repeat(60_000));
  const batches = await batchesOf(messages);
  expect(batches.map((each) => each.length)).toEqual([3, 3, 1]);
  expect(batches.flat()).toEqual(messages);
});
