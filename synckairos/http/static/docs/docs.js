// Renders /openapi.json. Builds nodes, never HTML from text, so nothing in the description can be run.
"use strict";

const make = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

let spec;

// Text with `code` in it, as nodes.
const prose = (text) => text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));

const resolve = (schema) => {
  while (schema && schema.$ref) schema = spec.components.schemas[schema.$ref.split("/").pop()];
  return schema || {};
};

const nameOf = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : null);

const typeOf = (given) => {
  const schema = resolve(given);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.anyOf || schema.oneOf;
  if (several && !schema.type) return several.map(typeOf).join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items || {})}[]`;
  return nameOf(given) || schema.format || schema.type || "any";
};

const boundsOf = (given) => {
  const schema = resolve(given);
  const words = [];
  if (schema.minimum !== undefined) words.push(`≥ ${schema.minimum}`);
  if (schema.maximum !== undefined) words.push(`≤ ${schema.maximum}`);
  if (schema.minLength !== undefined) words.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength !== undefined) words.push(`at most ${schema.maxLength} characters`);
  if (schema.minItems !== undefined) words.push(`at least ${schema.minItems}`);
  if (schema.maxItems !== undefined) words.push(`at most ${schema.maxItems}`);
  if (schema.default !== undefined && typeof schema.default !== "object") words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
};

const objectIn = (given) => {
  const schema = resolve(given);
  if (schema.properties) return schema;
  if (schema.type === "array") return objectIn(schema.items || {});
  for (const each of schema.anyOf || []) {
    const found = objectIn(each);
    if (found) return found;
  }
  return null;
};

const members = (given, depth = 0) => {
  const schema = objectIn(given);
  if (!schema) return make("p", {}, typeOf(given));
  const table = make("table");
  for (const [name, member] of Object.entries(schema.properties)) {
    const required = (schema.required || []).includes(name);
    const inner = depth < 5 && objectIn(member);
    const told = make("td", {}, make("code", {}, typeOf(member)), " ", boundsOf(member));
    const text = resolve(member).description || member.description;
    if (text) told.append(make("p", {}, ...prose(text)));
    if (inner) {
      const nested = make("details", { class: "nested" }, make("summary", {}, "members"));
      // Filled when it is opened: sessions stand inside sessions' answers many times over.
      nested.addEventListener("toggle", () => nested.childElementCount > 1 || nested.append(members(member, depth + 1)), { once: true });
      told.append(nested);
    }
    table.append(make("tr", {}, make("td", {}, make("code", required ? { class: "required" } : {}, name)), told));
  }
  return table;
};

const parameters = (list) => {
  const table = make("table");
  for (const each of list) {
    const told = make("td", {}, make("code", {}, typeOf(each.schema)), " ", boundsOf(each.schema));
    const text = each.description || resolve(each.schema).description;
    if (text) told.append(make("p", {}, ...prose(text)));
    table.append(make("tr", {}, make("td", {}, make("code", each.required ? { class: "required" } : {}, each.name), ` ${each.in}`), told));
  }
  return table;
};

const responses = (all) => {
  const table = make("table");
  for (const [status, response] of Object.entries(all)) {
    const told = make("td", {}, response.description);
    for (const [type, content] of Object.entries(response.content || {})) {
      told.append(make("p", {}, make("code", {}, type)));
      if (status < 300 && objectIn(content.schema)) told.append(members(content.schema));
    }
    table.append(make("tr", {}, make("td", {}, make("code", {}, status)), told));
  }
  return table;
};

const operation = (method, path, described) => {
  const inside = make("div", { class: "inside" });
  const details = make(
    "details", { class: "operation", id: described.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path),
      make("span", { class: "says" }, described.summary)),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    if (described.parameters.length) inside.append(make("h3", {}, "Parameters"), parameters(described.parameters));
    if (described.requestBody) {
      const [content] = Object.values(described.requestBody.content);
      const text = resolve(content.schema).description;
      inside.append(make("h3", {}, described.requestBody.required ? "Body" : "Body, may be left out"), text ? make("p", {}, ...prose(text)) : "", members(content.schema));
    }
    inside.append(make("h3", {}, "Answers"), responses(described.responses));
  });
  return details;
};

const render = () => {
  document.getElementById("about").replaceChildren(
    `${spec.info.description} Version ${spec.info.version}, OpenAPI ${spec.openapi}: `, make("a", { href: "/openapi.json" }, "openapi.json"), ".",
  );
  const main = document.getElementById("operations");
  const contents = document.getElementById("contents");
  for (const tag of spec.tags) {
    main.append(make("h2", { id: tag.name }, tag.name), make("p", {}, tag.description));
    contents.append(make("a", { href: `#${tag.name}` }, tag.name));
    for (const [path, methods] of Object.entries(spec.paths))
      for (const [method, described] of Object.entries(methods))
        if (described.tags.includes(tag.name)) main.append(operation(method, path, described));
  }
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) { wanted.open = true; wanted.scrollIntoView(); }
};

fetch("/openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`HTTP ${response.status}`))))
  .then((found) => { spec = found; render(); })
  .catch((error) => { document.getElementById("about").textContent = `The description can't be read: ${error.message}`; });
