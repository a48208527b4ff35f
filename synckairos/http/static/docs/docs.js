// The API page: renders REST from /openapi.json and the sockets from /asyncapi.json.

import { hasToken } from "../demo/credential.js";
import { exampleArguments } from "../playground/commands.js";
import { Schemas, example, formatJson, make, paragraph, prose } from "./schema.js";
import { renderSockets } from "./sockets.js";
import { tryForm } from "./try_it.js";

// URL of the server without a slash at the end, with the sub-path if a proxy adds one.
const SERVER = new URL("..", import.meta.url).href.slice(0, -1);

const COMMANDS = new Set(Object.keys(exampleArguments({ participants: [] })));

const curl = (method, path, body, type) => {
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${SERVER}${path}`];
  if (body !== undefined) lines.push(`  -H 'Content-Type: ${type}'`, `  -d '${formatJson(body, "  ")}'`);
  return lines.join(" \\\n");
};

const parameters = (schemas, list) =>
  make("table", {}, make("tbody", {}, list.map((each) =>
    schemas.row(each.name, each.schema, { required: each.required, note: ` ${each.in}`, text: each.description }))));

const responses = (schemas, all) => {
  const rows = Object.entries(all).map(([status, response]) => {
    const cell = make("td", {}, response.description);
    for (const [type, content] of Object.entries(response.content || {})) {
      cell.append(make("p", {}, make("code", {}, type)));
      if (status >= 300) continue;
      const [found] = Object.values(content.examples || {});
      if (found) cell.append(example(formatJson(schemas.resolve(found).value)));
      if (schemas.objectIn(content.schema)) cell.append(schemas.members(content.schema));
    }
    return make("tr", {}, make("td", {}, make("code", {}, status)), cell);
  });
  return make("table", {}, make("tbody", {}, rows));
};

/** Return a link to the playground with the command of a path, or an empty text for other paths. */
const playgroundLink = (path) => {
  const command = path.match(/^\/v1\/sessions\/\{session_id\}\/([a-z_]+)$/)?.[1];
  return COMMANDS.has(command) ? make("p", {}, make("a", { href: `${SERVER}/playground?command=${command}` }, "Send it in the playground")) : "";
};

const operation = (schemas, method, path, described) => {
  const inside = make("div", { class: "inside" });
  const details = make(
    "details", { class: "operation", id: described.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path),
      make("span", { class: "summary" }, prose(described.summary))),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    const [[type, content] = []] = Object.entries(described.requestBody?.content || {});
    inside.append(make("h3", {}, "Example"), example(curl(method, path, content?.example, type)));
    inside.append(tryForm(schemas, method, path, described), playgroundLink(path));
    if (described.parameters.length) inside.append(make("h3", {}, "Parameters"), parameters(schemas, described.parameters));
    if (content) {
      inside.append(make("h3", {}, described.requestBody.required ? "Body" : "Body (optional)"));
      const text = schemas.resolve(content.schema).description;
      if (text) inside.append(paragraph(text));
      inside.append(schemas.members(content.schema));
    }
    inside.append(make("h3", {}, "Responses"), responses(schemas, described.responses));
  });
  return details;
};

const renderRest = (document) => {
  const schemas = new Schemas(document);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({ method, path, described })));
  return {
    nodes: document.tags.flatMap(({ name, description }) => [
      make("h2", { id: name }, name), paragraph(description),
      ...operations.filter(({ described }) => described.tags.includes(name)).map(({ method, path, described }) => operation(schemas, method, path, described)),
    ]),
    links: document.tags.map(({ name }) => make("a", { href: `#${name}` }, name)),
  };
};

const showAnchor = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
};

const load = (url) => fetch(url).then((response) => (response.ok ? response.json() : Promise.reject(new Error(`${url}: HTTP ${response.status}`))));

for (const node of document.querySelectorAll("[data-origin]"))
  node.textContent = node.textContent.replaceAll(node.dataset.origin, SERVER);

document.getElementById("caller").textContent = hasToken() ? "have the credential of this tab" : "have no credential. The demo page has a form to sign in";

try {
  const [openapi, asyncapi] = await Promise.all([load(`${SERVER}/openapi.json`), load(`${SERVER}/asyncapi.json`)]);
  document.getElementById("about").replaceChildren(`${openapi.info.description} Version ${openapi.info.version}.`);
  const parts = [renderRest(openapi), renderSockets(asyncapi)];
  document.getElementById("reference").replaceChildren(...parts.flatMap((part) => part.nodes));
  document.getElementById("contents").append(...parts.flatMap((part) => part.links));
  addEventListener("hashchange", showAnchor);
  showAnchor();
} catch (error) {
  document.getElementById("about").textContent = `The API descriptions could not be loaded: ${error.message}`;
}
