// The form “Try it” of an operation: it sends a request of the form to this server, and shows the answer.

import { Refusal, fetchAnswer } from "../demo/rest.js";
import { formatJson, make } from "./schema.js";

const TIMEOUT_MS = 20_000;
const MAX_CHARACTERS = 20_000;

// The ids of the objects that requests of this page created. They fill empty fields of the same name.
const createdIds = {};

/** Return the form of an operation in a closed box. */
export function tryForm(schemas, method, path, described) {
  const fields = described.parameters.filter((each) => each.in === "path" || each.in === "query").map((each) => field(each));
  const content = described.requestBody?.content ?? {};
  const type = Object.keys(content)[0];
  const body = type ? make("textarea", { spellcheck: "false" }) : null;
  if (body) body.value = content[type].example === undefined ? "{}" : formatJson(content[type].example);
  const send = make("button", {}, "Send");
  const status = make("p", { role: "status" });
  const answer = make("pre", { tabindex: "0", hidden: "" });
  const form = make(
    "form", { class: "try" },
    fields.map(({ label }) => label),
    body && make("label", {}, "Body as JSON ", body),
    send, status, answer,
  );
  const box = make("details", { class: "nested" }, make("summary", {}, "Try it"), form);
  box.addEventListener("toggle", () => {
    for (const { name, input } of fields) input.value ||= createdIds[name] ?? "";
  });
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-disabled") === "true") return; // A second press would send a second request.
    send.setAttribute("aria-disabled", "true");
    status.textContent = "Waiting for the answer …";
    const result = await execute(method.toUpperCase(), addressOf(path, fields), body?.value);
    send.removeAttribute("aria-disabled");
    status.textContent = result.status;
    answer.textContent = result.text;
    answer.hidden = result.text === "";
  };
  return box;
}

function field({ name, in: place, required }) {
  const input = make("input", { autocomplete: "off", spellcheck: "false", ...(required && { required: "" }) });
  return { name, place, input, label: make("label", {}, `${name} (${place}${required ? "" : ", optional"}) `, input) };
}

/** Return the path of a request, relative to the server, with the values of the fields. */
function addressOf(path, fields) {
  const query = new URLSearchParams();
  let address = path.slice(1);
  for (const { name, place, input } of fields) {
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value.trim()));
    else if (input.value !== "") query.set(name, input.value);
  }
  return query.size ? `${address}?${query}` : address;
}

/** Send a request. Return the status of its answer, and the text of its answer. */
async function execute(method, address, bodyText) {
  let body;
  try {
    body = bodyText?.trim() ? JSON.parse(bodyText) : undefined;
  } catch (error) {
    return { status: `The body is not JSON: ${error.message}`, text: "" };
  }
  try {
    const response = await fetchAnswer(method, address, body, { attempts: 1, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    return { status: `Status ${response.status}`, text: shorten(readable(text)) };
  } catch (error) {
    if (!(error instanceof Refusal)) return { status: error.message, text: "" };
    return { status: error.status ? `Status ${error.status} ${error.code}` : error.code, text: error.message };
  }
}

/** Return the text of an answer with line breaks, and keep the ids of created objects. */
function readable(text) {
  try {
    const json = JSON.parse(text);
    for (const [name, value] of Object.entries(json.data ?? {})) if (/_id$/.test(name) && typeof value === "string") createdIds[name] = value;
    return formatJson(json);
  } catch {
    return text;
  }
}

const shorten = (text) => (text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}\n… ${text.length - MAX_CHARACTERS} more characters` : text);
