// What this package uses of its environment: a browser, Node, Deno, Bun or React Native. Nothing is required but timers.
import type { Unsubscribe } from "./listeners.js";

/** The part of the WebSocket interface that a connection uses. The `ws` package of Node has it too. */
export interface SocketLike {
  readonly readyState: number;
  readonly protocol: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** Constructor of a WebSocket. */
export type WebSocketClass = new (url: string, protocols: string[]) => SocketLike;

interface EventSource {
  addEventListener?: (type: string, listener: () => void) => void;
  removeEventListener?: (type: string, listener: () => void) => void;
}

const scope = globalThis as unknown as EventSource & { document?: EventSource & { visibilityState?: string } };

/** Return whether the page is hidden. False without pages. */
export const isHidden = (): boolean => scope.document?.visibilityState === "hidden";

/** Call `wake` when the page becomes visible or the device comes online, and `save` before the page can go away. */
export function watchPage(wake: () => void, save: () => void): Unsubscribe {
  const changed = () => (isHidden() ? save() : wake());
  const added: [EventSource | undefined, string, () => void][] = [
    [scope, "online", wake],
    [scope, "pageshow", wake],
    [scope, "pagehide", save],
    [scope.document, "visibilitychange", changed],
    [scope.document, "resume", wake],
  ];
  for (const [target, type, listener] of added) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of added) target?.removeEventListener?.(type, listener);
  };
}

/** Return a random id for a command or request. */
export function randomId(): string {
  // Pages without TLS have no `randomUUID`, except on the local host.
  if (globalThis.crypto?.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The storage of this tab, null if there is none or the page may not use it. */
export function tabStorage(): Storage | null {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}
