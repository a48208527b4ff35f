// Commands and reads over REST, for the demo page and the pages that list or create sessions.

import { Refusal, SERVER, readRefusal, send, uuid } from "./requests.js";

export * from "./requests.js";

export const PRESETS = {
  "3+2": { budgetMs: 180_000, incrementMs: 2_000 },
  "1+0": { budgetMs: 60_000, incrementMs: 0 },
  "5+3": { budgetMs: 300_000, incrementMs: 3_000 },
  "0:10": { budgetMs: 10_000, incrementMs: 0 },
};

/**
 * Return the caller: its name, its highest role, and its role on a session if `sessionId` is not null. The caller is
 * `anonymous` while authentication is off.
 */
export function describeCaller(sessionId = null) {
  const query = sessionId === null ? "" : `?session_id=${encodeURIComponent(sessionId)}`;
  return send("GET", `v1/me${query}`);
}

/** Make a ticket for one socket that watches a session. `timeoutMs` limits the only attempt. */
export async function makeTicket(sessionId, timeoutMs) {
  const signal = AbortSignal.timeout(timeoutMs);
  return (await send("POST", "v1/tickets", { session_ids: [sessionId] }, { attempts: 1, signal })).ticket;
}

/** Return a session token with the rights of an API key. */
export async function exchangeKey(key) {
  return (await send("POST", "v1/tokens", {}, { authorization: { Authorization: `Bearer ${key}` } })).token;
}

/** End the token of this tab on the server, if it is a session token. Other tokens stay valid. */
export const endSessionToken = () => send("DELETE", "v1/tokens", undefined, { attempts: 1 }).catch(() => null);

/** Return the state of a session, or null if there is no such session. */
export async function readGame(sessionId) {
  try {
    return await send("GET", `v1/sessions/${sessionId}`);
  } catch (error) {
    if (error instanceof Refusal && error.status === 404) return null;
    throw error;
  }
}

/** Create a chess session with one of `PRESETS` and return the state of the session. */
export function createGame(preset) {
  const { budgetMs, incrementMs } = PRESETS[preset];
  const participant = (name) => ({ participant_id: uuid(), display_name: name, total_time_ms: budgetMs });
  return send("POST", "v1/sessions", {
    sync_mode: "per_participant",
    participants: [participant("White"), participant("Black")],
    ...(incrementMs && { increment_ms: incrementMs }),
    metadata: { time_control: preset },
  });
}

/** Create a session from a preset, such as `quiz/20-seconds`, and return the state of the session. */
export const createFromPreset = (preset) => send("POST", "v1/sessions", { preset });

/** Return the name, title and text of each preset. */
export const listPresets = () => send("GET", "v1/presets");

/** Return a preset with its session, such as `quiz/20-seconds`. */
export const readPreset = (name) => send("GET", `v1/presets/${name}`);

/** Return the server's time in ms since the Unix epoch. */
export async function readServerTime() {
  const response = await fetch(new URL("v1/time", SERVER)).catch(() => null);
  if (!response?.ok) throw await readRefusal(response);
  return (await response.json()).timestamp_ms;
}

/** Send a command of a session: `start`, `switch`, `pause`, `resume`, `adjust` or `cancel`. */
export const sendCommand = (sessionId, verb, body = {}) => send("POST", `v1/sessions/${sessionId}/${verb}`, body);

/** Change the metadata of a session with the merge patch `metadata`. */
export const mergeMetadata = (sessionId, metadata) => send("PATCH", `v1/sessions/${sessionId}`, { metadata });
