// Prediction of commands. Its code is large, so it is loaded when a client watches its first session.
import type { CommandArguments, SessionView } from "../generated/schemas.js";

/** The commands whose result can be predicted. */
export type PredictedCommand = "start" | "switch" | "pause" | "resume";

type Predict = <Name extends PredictedCommand>(
  session: SessionView,
  command: Name,
  args: CommandArguments[Name],
  nowMs: number,
  measuredLagMs: number,
) => SessionView | null;

let loaded: Predict | null = null;

/** Return whether a command can be predicted. */
export const isPredictable = (command: string): command is PredictedCommand =>
  ["start", "switch", "pause", "resume"].includes(command);

/** Load the code. Without it, commands are shown only after the server has answered. */
export async function loadPrediction(): Promise<void> {
  try {
    loaded ??= (await import("./transitions.js")).predict;
  } catch {
    // The page is offline. The next watch tries again.
  }
}

/** Return the session after a command, see `predict` in transitions.ts. Null before the code is loaded. */
export const predictLoaded: Predict = (...given) => loaded?.(...given) ?? null;
