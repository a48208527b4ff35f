// The client's end of a connection to a fake server. Messages arrive in later microtasks, as on a network.
import type { ClientMessage, ServerMessage } from "../generated/schemas.js";
import type { SocketLike } from "../index.js";

type Handler = ((event: never) => void) | null;

/** A WebSocket without a network. */
export class FakeSocket implements SocketLike {
  readyState = 0;
  onopen: Handler = null;
  onmessage: Handler = null;
  onclose: Handler = null;
  onerror: Handler = null;
  /** Ids of the sessions that the client watches. */
  readonly sessions = new Set<string>();

  constructor(
    readonly protocol: string,
    connect: (socket: FakeSocket) => void,
    private readonly receive: (socket: FakeSocket, message: ClientMessage) => void,
  ) {
    queueMicrotask(() => connect(this));
  }

  send(data: string): void {
    queueMicrotask(() => {
      if (this.readyState === 1) this.receive(this, JSON.parse(data) as ClientMessage);
    });
  }

  close(code = 1000, reason = ""): void {
    this.closedByServer(code, reason);
  }

  /** Tell the client that the connection is open. */
  opened(): void {
    this.readyState = 1;
    this.#call(this.onopen, {});
  }

  /** Send a message to the client. */
  deliver(message: ServerMessage): void {
    const data = JSON.stringify(message);
    queueMicrotask(() => {
      if (this.readyState === 1) this.#call(this.onmessage, { data });
    });
  }

  /** Tell the client that the connection ended. */
  closedByServer(code: number, reason: string): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.sessions.clear();
    queueMicrotask(() => this.#call(this.onclose, { code, reason }));
  }

  #call(handler: Handler, event: object): void {
    (handler as ((event: object) => void) | null)?.(event);
  }
}
