// The credential of a client: one fixed token, a function that returns tokens, or a function that returns tickets.

/** How a client authenticates. At most one of the three members can be given. */
export interface Credentials {
  /** One token for the whole life of the client. */
  token?: string;
  /**
   * Function that returns a token which is valid now. It is called before each connection, and before a token expires.
   * With `force`, the function must not return a token that it returned before.
   */
  getToken?: (request: { force: boolean }) => string | Promise<string>;
  /** Function that returns a new ticket from `POST /v1/tickets`. It is called before each connection. */
  getTicket?: () => string | Promise<string>;
}

/** Source of the credential of each connection. */
export class Tokens {
  #mustForce = false;
  #forcedOnce = false;

  constructor(private readonly credentials: Credentials) {
    const given = [credentials.token, credentials.getToken, credentials.getTicket].filter((each) => each !== undefined);
    if (given.length > 1) throw new TypeError("pass token, getToken or getTicket");
  }

  /** Whether the source can return another token than before. */
  get canRenew(): boolean {
    return this.credentials.getToken !== undefined;
  }

  /** Whether a connection that ended because its credential expired can be replaced. */
  get canReconnect(): boolean {
    return this.canRenew || this.credentials.getTicket !== undefined;
  }

  /** Return the token for the next connection or request, undefined without a token. Rejects if `getToken` fails. */
  async token(force = false): Promise<string | undefined> {
    if (!this.credentials.getToken) return this.credentials.token;
    const token = await this.credentials.getToken({ force: force || this.#mustForce });
    this.#mustForce = false;
    return token;
  }

  /** Return the ticket for the next connection, undefined without `getTicket`. Rejects if `getTicket` fails. */
  async ticket(): Promise<string | undefined> {
    return this.credentials.getTicket?.();
  }

  /** Note that the token of a connection expired, so that the next token must be a new one. */
  expired(): void {
    this.#mustForce = true;
  }

  /** Note that the server accepted the credential. */
  accepted(): void {
    this.#forcedOnce = false;
  }

  /** Note that the server refused the credential. Return whether a further attempt with a new token makes sense. */
  refused(): boolean {
    if (!this.canRenew || this.#forcedOnce) return false;
    this.#forcedOnce = true;
    this.#mustForce = true;
    return true;
  }
}
