// Requests of the console. Each one is kept, so that the page shows it as a command for a terminal.

import { hasToken } from "../demo/credential.js";
import { SERVER, fetchAnswer } from "../demo/rest.js";

const MAX_REQUESTS = 20;

let requests = []; // The newest first, each as the text of a curl command.
let listener = () => {};

/** Call `listen` with the texts of the newest requests, after each request. */
export function onRequests(listen) {
  listener = listen;
}

/** Send a request. Return the JSON of the answer: `{data, next_cursor}` for a list. Throw a Refusal otherwise. */
export async function request(method, path, body) {
  const response = await fetchAnswer(method, note(method, path, body), body);
  return response.status === 204 ? null : response.json();
}

/** Return the text of an answer that is not JSON. */
export const requestText = async (path) => (await fetchAnswer("GET", note("GET", path))).text();

/** Return a path with the parameters that are not empty. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  return query.size ? `${path}?${query}` : path;
}

/** Return a request as a curl command. The credential is the variable `TOKEN` of the shell, so that it is not copied. */
export function curlCode(method, path, body, serverUrl, needsToken) {
  const parts = [`curl${method === "GET" ? "" : ` -X ${method}`} ${quoted(`${serverUrl}${path}`)}`];
  if (needsToken) parts.push('-H "Authorization: Bearer $TOKEN"');
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return parts.join(" ");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Keep a request as the newest one. A repeated request is kept one time. Return the path. */
function note(method, path, body) {
  const text = curlCode(method, path, body, SERVER.href, hasToken());
  requests = [text, ...requests.filter((each) => each !== text)].slice(0, MAX_REQUESTS);
  listener(requests);
  return path;
}
