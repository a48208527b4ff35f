// The base of all elements: finds the client, watches the session, and renders after changes.
import { connect, type SyncKairosClient, type Watch } from "../index.js";

/** Where the module runs on a server, there are no elements. The classes then exist, but cannot be used. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/** Default colour of what has the turn, in light and dark pages. The system colour Highlight is too dark on dark pages. */
export const ACTIVE = "light-dark(#0b57d0, #a8c7fa)";

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
 * the element or its nearest ancestor, else the default client, else a client of the page's own origin. The attribute
 * `only` of the element or its nearest ancestor is the participant whose row the element watches alone.
 */
export abstract class SessionElement extends Base {
  static observedAttributes = ["session", "participant", "only", "server", "face", "tenths", "overtime"];
  protected watch: Watch | null = null;
  protected readonly root: ShadowRoot;
  #usedClient: SyncKairosClient | null = null;
  #failure: Error | null = null;
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

  /** The attribute `participant`, else the participant of `only`. Undefined without both. */
  protected get participant(): string | undefined {
    return this.getAttribute("participant") || this.only;
  }

  /** The participant whose row alone this element watches, undefined for all rows. */
  protected get only(): string | undefined {
    return this.inherited("only") || undefined;
  }

  /** Return an attribute of this element or of its nearest ancestor that has it. */
  protected inherited(name: string): string | null {
    return this.closest(`[${name}]`)?.getAttribute(name) ?? null;
  }

  /** Give an element inside the shadow tree the session and the client of this one. */
  protected share(inner: SessionElement): void {
    for (const name of ["session", "server", "only"]) {
      const value = this.inherited(name);
      if (value !== null) inner.setAttribute(name, value);
    }
    if (this.client) inner.client = this.client;
  }

  /** The server's time in ms since the Unix epoch, null while it is not known. */
  protected nowMs(): number | null {
    return this.#usedClient?.now() ?? null;
  }

  /** Why the element has no state, empty while there is no error. */
  protected get errorText(): string {
    return (this.#failure ?? this.watch?.error)?.message ?? "";
  }

  /** Add the listeners of a new watch. */
  protected abstract started(watch: Watch): void;

  /** Show the present state. `watch` is null without a session. */
  protected abstract render(): void;

  #restart(): void {
    this.#stop();
    const session = this.getAttribute("session");
    if (this.isConnected && session) this.#start(session);
    this.render();
  }

  #start(session: string): void {
    const server = this.inherited("server");
    const { only } = this;
    try {
      const client = this.#client ?? (server ? clientFor(server) : (defaultClient ?? clientFor(location.origin)));
      this.#usedClient = client;
      this.watch = client.watch(session, only === undefined ? {} : { only });
    } catch (error) {
      // The client has ended, or another element watches other rows of the session.
      this.#failure = error as Error;
      return;
    }
    this.watch.subscribe(() => this.render());
    this.started(this.watch);
  }

  #stop(): void {
    this.watch?.close();
    this.watch = this.#usedClient = this.#failure = null;
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
