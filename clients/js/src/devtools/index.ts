// A panel for developers: the connection, the server's time, and the messages in both directions.
import type { ClientMessage, ServerMessage, SyncKairosClient } from "../index.js";

const STYLE = `
:host { position: fixed; inset: auto 0 0 auto; z-index: 2147483647; width: min(40rem, 100vw); color-scheme: light dark;
  font: 12px/1.4 ui-monospace, monospace; color: CanvasText; background: Canvas; border: 1px solid GrayText; }
header { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; padding: 0.25rem 0.5rem; }
header output { flex: 1; }
button { font: inherit; min-height: 24px; }
button:focus-visible { outline: 2px solid Highlight; }
ol { margin: 0; padding: 0; list-style: none; max-height: 40vh; overflow: auto; border-top: 1px solid GrayText; }
li { padding: 0.1rem 0.5rem; border-bottom: 1px solid color-mix(in srgb, GrayText 30%, transparent); }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
:host([data-closed]) ol, :host([data-closed]) .open { display: none; }
`;

/** Messages that the panel keeps. Older ones are removed. */
const MAX_ROWS = 200;

/** Milliseconds between two updates of the server's time in the panel. */
const REFRESH_MS = 500;

/** Options of the panel. */
export interface DevtoolsOptions {
  /** Element to which the panel is added. Default: the body of the page. */
  parent?: Element;
  /** Whether the panel is open at first. Default: true. */
  isOpen?: boolean;
}

/** Add the panel of a client to the page. Returns a function that removes the panel. */
export function mountDevtools(client: SyncKairosClient, options: DevtoolsOptions = {}): () => void {
  const host = document.createElement("div");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", "SyncKairos developer panel");
  host.toggleAttribute("data-closed", options.isOpen === false);
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];

  const summary = document.createElement("output");
  const rows = document.createElement("ol");
  let isPaused = false;
  const pause = button("Pause", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Continue" : "Pause";
  });
  const tools = [pause, button("Clear", () => rows.replaceChildren()), button("Reconnect", () => client.reconnect())];
  for (const each of tools) each.className = "open";
  const toggle = button(options.isOpen === false ? "Show" : "Hide", () => {
    toggle.textContent = host.toggleAttribute("data-closed") ? "Show" : "Hide";
  });
  const header = document.createElement("header");
  header.append(summary, ...tools, toggle);
  root.append(header, rows);
  (options.parent ?? document.body).append(host);

  const refresh = () => {
    summary.value = describe(client);
  };
  const add = (arrow: string, message: ServerMessage | ClientMessage) => {
    if (isPaused) return;
    rows.prepend(messageRow(arrow, message));
    while (rows.children.length > MAX_ROWS) rows.lastElementChild?.remove();
  };
  const removals = [
    client.onState(refresh),
    client.onMessage((message) => add("←", message)),
    client.onSent((message) => add("→", message)),
  ];
  const timer = setInterval(refresh, REFRESH_MS);
  refresh();
  return () => {
    for (const remove of removals) remove();
    clearInterval(timer);
    host.remove();
  };
}

function button(label: string, call: () => void): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  element.addEventListener("click", call);
  return element;
}

function describe(client: SyncKairosClient): string {
  const { status, code, reason } = client.state;
  const now = client.now();
  const end = code === undefined ? "" : `, last end ${code} ${reason ?? ""}`.trimEnd();
  const time = now === null ? "server time unknown" : `${new Date(now).toISOString()} ± ${client.errorMs.toFixed(1)} ms`;
  return `${status}${end} · ${time}`;
}

function messageRow(arrow: string, message: ServerMessage | ClientMessage): HTMLLIElement {
  const row = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const version = "version" in message && message.version !== undefined ? ` v${message.version}` : "";
  const name = message.type === "COMMAND" ? ` ${message.command}` : message.type === "ERROR" ? ` ${message.code}` : "";
  summary.textContent = `${arrow} ${message.type}${name}${version}`;
  details.append(summary);
  // Most messages are never opened, so their text is made when they are.
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const text = document.createElement("pre");
    text.textContent = JSON.stringify(message, null, 2);
    details.append(text);
  });
  row.append(details);
  return row;
}
