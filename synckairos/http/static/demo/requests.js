// Requests to the REST API. All attempts of one command have the same Idempotency-Key, so that the command is executed once.

import { authorizationHeader } from "./credential.js";

/** URL of the server, with the sub-path if a proxy adds one. It ends with a slash. */
export const SERVER = new URL("../", import.meta.url);

const ATTEMPTS = 4;
const FIRST_WAIT_MS = 400;
const UNKNOWN_OUTCOME = new Set([502, 503, 504]); // Statuses after which the outcome is unknown. Retry with the same key.

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

/** Redeem a link. Return `{token, session_id, role, …}`. */
export const redeemLink = (secret) => send("POST", "v1/links/redeem", { secret });

/** Send a request, and return the member `data` of its answer, null without an answer. Throw a Refusal if it fails. */
export async function send(method, path, body, options) {
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

/** Return the refusal of a response, which is null if the server did not answer. */
export async function readRefusal(response) {
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
