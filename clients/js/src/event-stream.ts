// The transport where WebSockets are blocked: messages of the server as Server-Sent Events, messages of the client in
// POST requests. It has the interface of a WebSocket. `client.ts` loads this module when it needs it.
import type { SocketLike } from "./environment.js";
import type { NamedTimers } from "./named-timers.js";

/** Maximum number of messages in one batch. */
const MAX_FRAMES = 64;

/** Number of characters of messages from which a batch takes no further message. A request body has at most 1 MiB. */
const FULL_CHARACTERS = 128 * 1024;

/** Milliseconds without a confirmation after which a batch is sent again. */
const RESEND_MS = 2_000;

/** Milliseconds for which a client whose messages were refused with 401 waits for the close code of the stream. */
const CLOSE_WAIT_MS = 5_000;

const NO_CLOSE_EVENT = 1006;
const UNAUTHORIZED = 4501;

type Handler = ((event: never) => void) | null;

/** One event stream with its requests. The server confirms each batch, so that each message arrives once. */
export class EventStream implements SocketLike {
  readyState = 0;
  onopen: Handler = null;
  onmessage: Handler = null;
  onclose: Handler = null;
  onerror: Handler = null;
  readonly #abort = new AbortController();
  #streamId = "";
  #queue: string[] = [];
  #pong: string | undefined;
  #sequence = 0;
  #unconfirmed: string | null = null;

  /**
   * Open a stream. `url` is the base URL of REST, and `query` the query of the stream, empty or with `?`. `timers` are
   * for this stream alone. They are an argument, so that this module needs no part of the core.
   */
  constructor(
    private readonly url: string,
    query: string,
    readonly protocol: string,
    private readonly fetch: typeof globalThis.fetch,
    private readonly timers: NamedTimers,
  ) {
    void this.#read(`${url}/v3/stream${query}`);
  }

  send(data: string): void {
    this.#queue.push(data);
    // Messages that are sent together travel in one request.
    queueMicrotask(() => this.#flush());
  }

  close(code = 1000, reason = ""): void {
    this.#ended(code, reason);
  }

  // -- from the server ------------------------------------------------------------------------------------------------

  async #read(url: string): Promise<void> {
    let reason = "";
    try {
      const { signal } = this.#abort;
      const answer = await this.fetch(url, { signal, cache: "no-store", headers: { Accept: "text/event-stream" } });
      if (answer.ok && answer.body) await this.#readEvents(answer.body.getReader());
      else reason = `the stream was refused with ${answer.status}`;
      if (answer.status === 401) this.#ended(UNAUTHORIZED, reason);
    } catch (error) {
      reason = String(error);
    }
    this.#ended(NO_CLOSE_EVENT, reason);
  }

  async #readEvents(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop() as string;
      for (const event of events) this.#received(event);
    }
  }

  #received(event: string): void {
    if (this.readyState > 1) return;
    const [, name, data] = /^(?:event: (.*)\n)?data: (.*)$/.exec(event) ?? [];
    if (data === undefined) return;
    if (name === undefined) {
      this.#call(this.onmessage, { data });
    } else if (name === "open") {
      this.#streamId = (JSON.parse(data) as { stream_id: string }).stream_id;
      this.readyState = 1;
      this.#call(this.onopen, {});
    } else if (name === "ping") {
      this.#pong = data;
    } else if (name === "received" && Number(data) === this.#sequence) {
      this.#unconfirmed = null;
      this.timers.cancel("resend");
    } else if (name === "close") {
      const { code, reason } = JSON.parse(data) as { code: number; reason: string };
      this.#ended(code, reason);
    }
    this.#flush();
  }

  #ended(code: number, reason: string): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.timers.cancelAll();
    this.#abort.abort();
    this.#call(this.onclose, { code, reason });
  }

  #call(handler: Handler, event: object): void {
    (handler as ((event: object) => void) | null)?.(event);
  }

  // -- to the server --------------------------------------------------------------------------------------------------

  /** Send the next batch. It waits until the server has confirmed the batch before, so that the order is kept. */
  #flush(): void {
    if (this.readyState !== 1 || this.#unconfirmed !== null) return;
    if (!this.#queue.length && this.#pong === undefined) return;
    const frames: string[] = [];
    for (let length = 0; this.#queue.length && frames.length < MAX_FRAMES && length < FULL_CHARACTERS; ) {
      const frame = this.#queue.shift() as string;
      frames.push(frame);
      length += frame.length;
    }
    const batch = { stream_id: this.#streamId, sequence: ++this.#sequence, frames, pong: this.#pong };
    this.#pong = undefined;
    this.#unconfirmed = JSON.stringify(batch);
    void this.#post(this.#sequence, this.#unconfirmed);
  }

  async #post(sequence: number, body: string): Promise<void> {
    let delayMs = RESEND_MS;
    try {
      const headers = { "Content-Type": "application/json" };
      const answer = await this.fetch(`${this.url}/v3/frames`, { method: "POST", body, headers });
      if (!answer.ok && answer.status < 500 && answer.status !== 429) {
        const end = (): void => this.#ended(NO_CLOSE_EVENT, `messages were refused with ${answer.status}`);
        // The server ends the stream of a revoked or expired credential itself, and says with its code what to do.
        if (answer.status === 401) this.timers.after("close", CLOSE_WAIT_MS, end);
        else end();
        return;
      }
      delayMs = Math.max(delayMs, Number(answer.headers.get("Retry-After")) * 1000);
    } catch {
      // The network failed. The batch is sent again, and the connection ends if the server stays silent.
    }
    if (this.readyState !== 1 || this.#unconfirmed === null || sequence !== this.#sequence) return;
    this.timers.after("resend", delayMs, () => void this.#post(sequence, body));
  }
}
