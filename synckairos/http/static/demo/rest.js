// Commands over REST. One press is one Idempotency-Key, however often it has to be sent.

const TRIES = 4;
const UNDECIDED = new Set([502, 503, 504]); // nothing was decided, or nobody knows: ask again with the same key

export const PRESETS = {
  "3+2": { budgetMs: 180_000, incrementMs: 2_000 },
  "1+0": { budgetMs: 60_000, incrementMs: 0 },
  "5+3": { budgetMs: 300_000, incrementMs: 3_000 },
  "0:10": { budgetMs: 10_000, incrementMs: 0 },
};

/** The server said no: `message` is its own words for people, `code` its stable name. */
export class Refused extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** A random UUID, also where the page came over plain HTTP and `crypto.randomUUID` is missing. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Make a game of chess after one of the presets and return its state. */
export function createGame(preset) {
  const { budgetMs, incrementMs } = PRESETS[preset];
  const seat = (name) => ({ participant_id: uuid(), display_name: name, total_time_ms: budgetMs });
  return send("POST", "/v1/sessions", {
    sync_mode: "per_participant",
    participants: [seat("White"), seat("Black")],
    ...(incrementMs && { increment_ms: incrementMs }),
    metadata: { time_control: preset },
  });
}

/** Send one command of a session: `start`, `switch`, `pause`, `resume`, `adjust`, `cancel`. */
export const command = (sessionId, verb, body = {}) => send("POST", `/v1/sessions/${sessionId}/${verb}`, body);

/** Merge into the session's metadata. */
export const describe = (sessionId, metadata) => send("PATCH", `/v1/sessions/${sessionId}`, { metadata });

async function send(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (method === "POST") headers["Idempotency-Key"] = uuid();
  const request = { method, headers, body: JSON.stringify(body) };
  for (let left = TRIES - 1; ; left -= 1) {
    const answer = await fetch(path, request).catch(() => null);
    if (answer?.ok) return (await answer.json()).data;
    if (left === 0 || (answer && !UNDECIDED.has(answer.status))) throw await refusal(answer);
    await pause(Math.random() * 400 * 2 ** (TRIES - 1 - left));
  }
}

async function refusal(answer) {
  if (!answer) return new Refused(0, "UNREACHABLE", "The server can’t be reached, so nobody knows yet whether that counted.");
  const problem = await answer.json().catch(() => ({}));
  const wait = answer.headers.get("Retry-After");
  const detail = problem.detail ?? `The server answered ${answer.status}.`;
  return new Refused(answer.status, problem.error?.code ?? "", wait ? `${detail} Try again in ${wait} s.` : detail);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
