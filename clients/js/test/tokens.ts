// Tokens for the server with authentication.
import { createHmac } from "node:crypto";

export const JWT_SECRET = "a secret of the SDK tests, 32 bytes or more";

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** Sign a token for `subject`, which is valid for `validS` seconds. It has the role admin, if `more` names no other role. */
export function signToken(subject = "alice", validS = 600, more: object = {}): string {
  const nowS = Math.floor(Date.now() / 1000);
  // The id of the token makes each token different.
  const claims = { sub: subject, aud: "synckairos", iat: nowS, exp: nowS + validS, role: "admin", jti: crypto.randomUUID(), ...more };
  const content = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${content}.${createHmac("sha256", JWT_SECRET).update(content).digest("base64url")}`;
}
