// Conversion between the HTTP URL of a server and the URL of its WebSocket.

/** The URLs of a server. */
export interface ServerUrls {
  /** URL of the WebSocket, such as `wss://host/clock/ws`. */
  socket: string;
  /** Base URL of REST without a slash at the end, such as `https://host/clock`. */
  http: string;
}

/**
 * Return the URLs of the server at `url`, such as `https://host`, `https://host/clock` or `wss://host/ws`. In a page,
 * `url` can be relative. Throws TypeError if `url` is not the URL of a server.
 */
export function serverUrls(url: string): ServerUrls {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  const parsed = new URL(url, base);
  if (!/^(https?|wss?):$/.test(parsed.protocol)) throw new TypeError(`${url} is not the URL of a server`);
  const path = parsed.pathname.replace(/\/+$/, "").replace(/\/ws$/, "");
  const host = `${parsed.protocol.replace("ws", "http")}//${parsed.host}${path}`;
  return { socket: `${host.replace("http", "ws")}/ws`, http: host };
}
