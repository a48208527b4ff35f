// Errors of the client. Each error has a stable `code`; codes of the server are listed in docs/reference/errors.md.

/** Base class of all errors of this package. */
export class SyncKairosError extends Error {
  constructor(
    /** Stable name of the error, such as `TURN_OVER`. */
    readonly code: string,
    message: string,
    /** Further data of the error. Its shape depends on `code`; undefined if there is none. */
    readonly details?: unknown,
  ) {
    super(message);
    // Names of classes are not stable in minified code.
    this.name = "SyncKairosError";
  }
}

const TEMPORARY_CODES = new Set(["STORE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED", "INTERNAL_ERROR"]);

/** Return whether a refusal with this code decides nothing, so that the same request can succeed later. */
export const isTemporaryCode = (code: string): boolean => TEMPORARY_CODES.has(code);

/** The server refused a command or could not decide it. */
export class CommandRefused extends SyncKairosError {
  constructor(
    code: string,
    message: string,
    details: unknown,
    /** Id of the command. Send a temporarily refused command again with this id. */
    readonly commandId: string,
  ) {
    super(code, message, details);
  }

  /** Whether the server decided nothing, so that the same command can succeed later. */
  get isTemporary(): boolean {
    return isTemporaryCode(this.code);
  }
}

/** A REST request failed. `status` is the HTTP status, 0 if there was no answer. */
export class RequestFailed extends SyncKairosError {
  constructor(
    code: string,
    message: string,
    details: unknown,
    readonly status: number,
    /** Milliseconds after which the same request can succeed, from `Retry-After`; undefined if the server named none. */
    readonly retryAfterMs?: number,
  ) {
    super(code, message, details);
  }
}

/** The session does not exist. */
export class SessionNotFound extends SyncKairosError {
  constructor(readonly sessionId: string) {
    super("SESSION_NOT_FOUND", `There is no session ${sessionId}`);
  }
}

/** A watched session was deleted. */
export class SessionDeleted extends SyncKairosError {
  constructor(readonly sessionId: string) {
    super("SESSION_DELETED", `Session ${sessionId} was deleted`);
  }
}

/** The server does not allow this client to watch an existing session. `code` is the reason. */
export class SubscriptionRefused extends SyncKairosError {}

/** The server does not accept the credential of this client. */
export class Unauthorized extends SyncKairosError {
  constructor(message: string) {
    super("UNAUTHORIZED", message);
  }
}

/** The server ended the connection permanently, with the close code `closeCode`. */
export class ConnectionEnded extends SyncKairosError {
  constructor(
    readonly closeCode: number,
    reason: string,
  ) {
    super("CONNECTION_ENDED", `The server ended the connection: ${closeCode} ${reason}`.trimEnd());
  }
}

/** The client was closed by `close()`. */
export class ClientClosed extends SyncKairosError {
  constructor() {
    super("CLIENT_CLOSED", "The client is closed");
  }
}

/** The session has no participant with this id. */
export class ParticipantNotFound extends SyncKairosError {
  constructor(participantId: string) {
    super("PARTICIPANT_NOT_FOUND", `The session has no participant ${participantId}`);
  }
}
