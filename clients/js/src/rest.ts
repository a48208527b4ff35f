// Requests to the REST operations of the server. `api.ts` loads this module with the first request.
import { randomId } from "./environment.js";
import { RequestFailed } from "./errors.js";
import { OPERATIONS } from "./generated/operations.js";
import type { DeviceClock } from "./local-clock.js";
import type { Tokens } from "./tokens.js";

/** Options of a request. */
export interface RequestOptions {
  /** Key of a repeatable request. Default: a new random key for each call that takes a key. */
  idempotencyKey?: string;
  /** ETag that the session must have, else the request fails with PRECONDITION_FAILED. */
  ifMatch?: string;
  signal?: AbortSignal;
}

/** The result of an operation: the `data` of an answer, or a whole page with its cursor. */
export type ResponseData<Answer> = Answer extends { next_cursor: unknown }
  ? Answer
  : Answer extends { data: infer Data }
    ? Data
    : Answer;

/** What the requests of a client need. */
export interface RestEnvironment {
  baseUrl: string;
  tokens: Tokens;
  device: DeviceClock;
  fetch: typeof fetch;
}

/** Attempts of one request, if the server cannot answer now and the request can be repeated safely. */
const MAX_ATTEMPTS = 3;

/** Milliseconds: a request does not wait longer than this for its next attempt. */
const MAX_RETRY_AFTER_MS = 10_000;

const RETRIED_STATUSES = new Set([0, 429, 502, 503, 504]);

/** Call an operation with the arguments of its function in `Api`. Rejects with RequestFailed if the request fails. */
export async function callOperation(
  environment: RestEnvironment,
  group: string,
  name: string,
  given: unknown[],
): Promise<unknown> {
  const operation = (OPERATIONS as Record<string, Record<string, string>>)[group]?.[name];
  if (operation === undefined) throw new TypeError(`there is no operation api.${group}.${name}`);
  const [method = "GET", template = "", keyed] = operation.split(" ");
  const ids = template.match(/\{\w+\}/g) ?? [];
  let path = template;
  for (const [at, id] of ids.entries()) path = path.replace(id, encodeURIComponent(String(given[at])));
  const [content, options = {}] = given.slice(ids.length) as [object | undefined, RequestOptions | undefined];
  const hasBody = content !== undefined && method !== "GET";
  const key = keyed && (options.idempotencyKey ?? randomId());
  const headers: Record<string, string> = {};
  if (hasBody) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (options.ifMatch !== undefined) headers["If-Match"] = options.ifMatch;
  const request: RequestInit = { method, headers };
  if (hasBody) request.body = JSON.stringify(content);
  if (options.signal) request.signal = options.signal;
  const isRepeatable = method === "GET" || method === "DELETE" || key !== undefined;
  const query = method === "GET" ? queryText(content) : "";
  return sendRepeatedly(environment, path + query, request, headers, isRepeatable ? MAX_ATTEMPTS : 1);
}

function queryText(query: object | undefined): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

async function sendRepeatedly(
  environment: RestEnvironment,
  path: string,
  request: RequestInit,
  headers: Record<string, string>,
  attempts: number,
): Promise<unknown> {
  let mustForce = false;
  for (let attempt = 1; ; attempt += 1) {
    const token = await environment.tokens.token(mustForce);
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    const failure = await send(environment, path, request);
    if (!(failure instanceof RequestFailed)) return failure;
    if (failure.status === 401 && environment.tokens.canRenew && !mustForce) {
      mustForce = true;
      continue;
    }
    const waitMs = failure.retryAfterMs ?? 250 * 2 ** attempt * Math.random();
    if (attempt >= attempts || !RETRIED_STATUSES.has(failure.status) || waitMs > MAX_RETRY_AFTER_MS) throw failure;
    await new Promise<void>((resolve) => environment.device.after(waitMs, resolve));
  }
}

/** Return the result of one request, or its RequestFailed. Throws if the caller aborted the request. */
async function send(environment: RestEnvironment, path: string, request: RequestInit): Promise<unknown> {
  let response: Response;
  let answer: { data?: unknown; error?: { code: string; message: string; details?: unknown } } | undefined;
  try {
    response = await environment.fetch(environment.baseUrl + path, request);
    const text = await response.text();
    answer = text ? JSON.parse(text) : undefined;
  } catch (error) {
    if (request.signal?.aborted) throw error;
    return new RequestFailed("NETWORK_ERROR", `${request.method} ${path}: ${String(error)}`, undefined, 0);
  }
  if (response.ok) return answer && "data" in answer && !("next_cursor" in answer) ? answer.data : answer;
  const { code = "UNKNOWN", message = `HTTP ${response.status}`, details } = answer?.error ?? {};
  const seconds = Number(response.headers.get("Retry-After") ?? NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  return new RequestFailed(code, message, details, response.status, retryAfterMs);
}
