// A TCP proxy in front of a server, which drops, blocks and delays connections.
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** A network between a client and a server. */
export class Proxy {
  /** Number of connections that were accepted. */
  accepted = 0;
  #blocked = new WeakSet<Socket>();
  #refusing = false;
  #blocksUpgrades = false;
  /** Number of WebSocket handshakes that the proxy did not pass on. */
  refusedUpgrades = 0;
  #delayMs = 0;
  readonly #sockets = new Set<Socket>();
  #serverClosed: (() => void)[] = [];
  readonly #server: Server;
  readonly #target: URL;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Start a proxy for the server at `target`, with an optional delay in ms in both directions. */
  static async start(target: string, delayMs = 0): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#delayMs = delayMs;
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Break all connections, without a close frame. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Keep the present connections open, but lose all their bytes, as after a change of the network. */
  block(): void {
    for (const socket of this.#sockets) this.#blocked.add(socket);
  }

  /** Refuse new connections, or accept them again. */
  refuse(isRefusing: boolean): void {
    this.#refusing = isRefusing;
  }

  /** Break the connection of each WebSocket handshake, as some networks do, or pass handshakes on again. */
  blockUpgrades(isBlocking: boolean): void {
    this.#blocksUpgrades = isBlocking;
  }

  /** Resolve when the server next ends a connection by itself. */
  closedByServer(): Promise<void> {
    return new Promise((resolve) => this.#serverClosed.push(resolve));
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    if (this.#refusing) {
      client.destroy();
      return;
    }
    this.accepted += 1;
    const server = connect(Number(this.#target.port), this.#target.hostname);
    this.#pipe(client, server);
    this.#pipe(server, client);
    server.on("end", () => {
      for (const call of this.#serverClosed.splice(0)) call();
    });
  }

  #pipe(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("data", (bytes) => {
      if (this.#blocked.has(from)) return;
      if (this.#blocksUpgrades && /^Upgrade: websocket\r$/im.test(bytes.toString("latin1"))) {
        this.refusedUpgrades += 1;
        from.destroy();
        return;
      }
      if (this.#delayMs) setTimeout(() => to.writable && to.write(bytes), this.#delayMs);
      else to.write(bytes);
    });
    from.on("error", () => {});
    from.on("close", () => {
      this.#sockets.delete(from);
      // A peer behind a lost network does not learn that the connection ended.
      if (this.#blocked.has(from)) return;
      to.destroy();
    });
  }
}
