// The base of all elements: finds the client, watches the session, and renders after changes.
import { connect, type SyncKairosClient, type Watch } from "../index.js";

/** Where the module runs on a server, there are no elements. The classes then exist, but cannot be used. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

const clients = new Map<string, SyncKairosClient>();
let defaultClient: SyncKairosClient | null = null;

/** Set the client of all elements without a property `client` and without an attribute `server`. */
export function setDefaultClient(client: SyncKairosClient): void {
  defaultClient = client;
}

function clientFor(url: string): SyncKairosClient {
  let client = clients.get(url);
  if (!client || client.state.status === "closed" || client.state.status === "unauthorized") {
    client = connect(url);
    clients.set(url, client);
  }
  return client;
}

/**
 * An element that shows one session. Its client is its property `client`, else the client of the attribute `server` of
 * the element or its nearest ancestor, else the default client, else a client of the page's own origin.
 */
export abstract class SessionElement extends Base {
  static observedAttributes = ["session", "participant", "server", "face", "tenths"];
  protected watch: Watch | null = null;
  protected readonly root: ShadowRoot;
  #client: SyncKairosClient | null = null;

  constructor(style: string) {
    super();
    this.root = this.attachShadow({ mode: "open" });
    // A strict Content-Security-Policy allows this sheet, but no element `style`.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    this.root.adoptedStyleSheets = [sheet];
  }

  /** The client of this element, null to find it by the attribute `server`. */
  get client(): SyncKairosClient | null {
    return this.#client;
  }

  set client(client: SyncKairosClient | null) {
    this.#client = client;
    this.#restart();
  }

  connectedCallback(): void {
    this.#restart();
  }

  disconnectedCallback(): void {
    this.#stop();
  }

  attributeChangedCallback(_name: string, before: string | null, now: string | null): void {
    if (before !== now) this.#restart();
  }

  /** The attribute `participant`, undefined if it is absent or empty. */
  protected get participant(): string | undefined {
    return this.getAttribute("participant") || undefined;
  }

  /** Add the listeners of a new watch. */
  protected abstract started(watch: Watch): void;

  /** Show the present state. `watch` is null without a session. */
  protected abstract render(): void;

  #restart(): void {
    this.#stop();
    const session = this.getAttribute("session");
    if (this.isConnected && session) {
      const server = this.closest("[server]")?.getAttribute("server");
      const client = this.#client ?? (server ? clientFor(server) : (defaultClient ?? clientFor(location.origin)));
      this.watch = client.watch(session);
      this.watch.subscribe(() => this.render());
      this.started(this.watch);
    }
    this.render();
  }

  #stop(): void {
    this.watch?.close();
    this.watch = null;
  }
}

/** Return a new element with a part name, for the styles of pages. */
export function part<Name extends keyof HTMLElementTagNameMap>(tag: Name, name: string): HTMLElementTagNameMap[Name] {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}

/** Set the text of an element if it differs. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Define an element, unless the module runs on a server or the page has the element already. */
export function define(name: string, element: typeof SessionElement): void {
  const registry = globalThis.customElements;
  if (registry && !registry.get(name)) registry.define(name, element as unknown as CustomElementConstructor);
}
