// The commands of a client: their messages, their turn guard, and their expected results.
import { isPredictable, predictLoaded } from "./clock/predict.js";
import { turnNumber } from "./clock/readings.js";
import { randomId } from "./environment.js";
import type { CommandArguments, CommandMessage, SessionView } from "./generated/schemas.js";
import type { CommandName, CommandOptions } from "./watch.js";
import type { WatchedSession } from "./watched-session.js";

/**
 * Return the message of a command. `shown` is the session that the user sees, undefined if it is not watched.
 *
 * A `switch` names the turn that the user sees, so that a press that arrives in a later turn is refused. In a session
 * with lag compensation it also claims the round trip `roundTripMs`.
 */
export function commandMessage<Name extends CommandName>(
  sessionId: string,
  name: Name,
  args: CommandArguments[Name],
  options: CommandOptions,
  shown: SessionView | null | undefined,
  roundTripMs: number,
): CommandMessage {
  const message: CommandMessage & { args: Record<string, unknown> } = {
    type: "COMMAND",
    id: options.id ?? randomId(),
    session_id: sessionId,
    command: name,
    args: { ...args },
  };
  if (options.expectedVersion !== undefined) message.expected_version = options.expectedVersion;
  if (options.onBehalfOf !== undefined) message.on_behalf_of = options.onBehalfOf;
  const seen = name === "switch" && shown ? shown : undefined;
  const guard = options.expectedTurn === undefined && seen ? turnNumber(seen) : options.expectedTurn;
  if (guard != null && !("expected_turn" in args)) message.expected_turn = guard;
  if (seen?.lag_compensation && !("lag_ms" in args)) message.args.lag_ms = Math.round(roundTripMs);
  return message;
}

/** Number of presses whose messages are kept for a repetition. */
const MAX_PRESSES = 256;

/** The newest presses. The server refuses another command with the same id, also if only its turn is another one. */
export class Presses {
  readonly #messages = new Map<string, CommandMessage>();

  /** Return the first message with the id of a press, so that a repetition has the turn and the lag of the first call. */
  firstWithId(message: CommandMessage): CommandMessage {
    if (message.command !== "switch") return message;
    const key = `${message.session_id} ${message.id}`;
    const first = this.#messages.get(key) ?? message;
    this.#messages.set(key, first);
    for (const oldest of this.#messages.keys()) {
      if (this.#messages.size <= MAX_PRESSES) break;
      this.#messages.delete(oldest);
    }
    return first;
  }
}

/**
 * Show the expected result of a command at once. Does nothing if the result cannot be predicted. `nowMs` is the server's
 * time; the server decides half a round trip later.
 */
export function showExpectedResult(
  session: WatchedSession,
  message: CommandMessage,
  nowMs: number | null,
  roundTripMs: number,
): void {
  const { shown } = session;
  const { command, expected_turn: guard } = message;
  if (!shown || nowMs === null || !isPredictable(command)) return;
  const turn = turnNumber(shown);
  const args = message.args as CommandArguments[typeof command];
  const atMs = nowMs + roundTripMs / 2;
  if ((guard !== undefined && guard !== turn) || !predictLoaded(shown, command, args, atMs, roundTripMs)) return;
  session.predict({ commandId: message.id, command, args, atMs, lagMs: roundTripMs, turn });
}
