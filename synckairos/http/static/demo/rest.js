// Commands over REST. All attempts of one command have the same Idempotency-Key, so that the command is executed once.

import { authorizationHeader } from "./credential.js";

/** URL of the server, with the sub-path if a proxy adds one. It ends with a slash. */
export const SERVER = new URL("../", import.meta.url);

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 400;
const UNKNOWN_OUTCOME = new Set([502, 503, 504]); // Statuses after which the outcome is unknown. Retry with the same key.

export const PRESETS = {
  "3+2": { budgetMs: 180_000, incrementMs: 2_000 },
  "1+0": { budgetMs: 60_000, incrementMs: 0 },
  "5+3": { budgetMs: 300_000, incrementMs: 3_000 },
  "0:10": { budgetMs: 10_000, incrementMs: 0 },
};

/** A request that the server refused or did not answer. `status` is 0 and `code` is UNREACHABLE without an answer. `waitS` is the number of seconds to wait. */
export class Refusal extends Error {
  constructor(status, code, detail, waitS = 0) {
    super(detail);
    this.status = status;
    this.code = code;
    this.waitS = waitS;
  }
}

/** Return a random UUID, also on pages without HTTPS, where browsers have no `crypto.randomUUID`. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

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

/** Redeem a link. Return `{token, session_id, role, …}`. */
export const redeemLink = (secret) => send("POST", "v1/links/redeem", { secret });

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

async function send(method, path, body, options) {
  const response = await fetchAnswer(method, path, body, options);
  return response.status === 204 ? null : (await response.json()).data;
}

/** Send a request, and return the response if its status is a success. Throw a Refusal otherwise. */
export async function fetchAnswer(method, path, body, { attempts = ATTEMPTS, signal, authorization = authorizationHeader() } = {}) {
  const headers = { "Content-Type": "application/json", ...authorization };
  if (method === "POST") headers["Idempotency-Key"] = uuid();
  const request = { method, headers, signal, body: body && JSON.stringify(body) };
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(new URL(path, SERVER), request).catch(() => null);
    if (response?.ok) return response;
    if (attempt === attempts || (response && !UNKNOWN_OUTCOME.has(response.status))) throw await readRefusal(response);
    await sleep(Math.random() * FIRST_WAIT_MS * 2 ** (attempt - 1));
  }
}

async function readRefusal(response) {
  if (!response) {
    const detail = "The server cannot be reached. It is unknown whether the command took effect.";
    return new Refusal(0, "UNREACHABLE", detail);
  }
  const problem = await response.json().catch(() => ({}));
  const waitS = Number(response.headers.get("Retry-After")) || 0;
  let detail = problem.detail ?? `The server answered with status ${response.status}.`;
  if (waitS && !/try again/i.test(detail)) detail = `${detail} Try again in ${waitS} s.`;
  return new Refusal(response.status, problem.error?.code ?? "", detail, waitS);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
