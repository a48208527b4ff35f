// Rendering of JSON Schemas as tables and of examples as text. All content is built as DOM nodes, so that no text of the
// descriptions can run as a script.

import { addCopyButton } from "./copy.js";

export const make = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

/** Return the DOM nodes of a text in which backquotes mark code. */
export const prose = (text) => text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));

export const paragraph = (text) => (text ? make("p", {}, prose(text)) : null);

export const example = (text) => {
  const pre = make("pre", { tabindex: "0" }, make("code", {}, text));
  const box = make("div", { class: "code" }, pre);
  addCopyButton(pre);
  return box;
};

/** Return a value as indented JSON. An object or list that fits on one line stays on one line. */
export const formatJson = (value, indent = "", width = 76) => {
  const flat = JSON.stringify(value, null, 1).replace(/\n */g, " ").replace(/([[{]) | ([\]}])/g, "$1$2");
  if (value === null || typeof value !== "object" || flat.length + indent.length <= width) return flat;
  const isList = Array.isArray(value);
  const inner = `${indent}  `;
  const lines = Object.entries(value).map(([name, each]) => inner + (isList ? "" : `${JSON.stringify(name)}: `) + formatJson(each, inner, width));
  return `${isList ? "[" : "{"}\n${lines.join(",\n")}\n${indent}${isList ? "]" : "}"}`;
};

/** The JSON Schemas of one API description, rendered as tables. */
export class Schemas {
  constructor(document) {
    this.document = document;
  }

  resolve(schema) {
    while (schema?.$ref) schema = schema.$ref.slice(2).split("/").reduce((found, name) => found[name], this.document);
    return schema || {};
  }

  type(given) {
    const schema = this.resolve(given);
    if ("const" in schema) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    const several = schema.anyOf || schema.oneOf;
    if (several && !schema.type) return several.map((each) => this.type(each)).join(" | ");
    if (schema.type === "array") return `${this.type(schema.items || {})}[]`;
    return given?.$ref?.split("/").pop() || schema.format || schema.type || "any";
  }

  bounds(given) {
    const schema = this.resolve(given);
    const describe = (name, text) => (schema[name] === undefined ? null : text(schema[name]));
    return [
      describe("minimum", (n) => `≥ ${n}`), describe("maximum", (n) => `≤ ${n}`),
      describe("minLength", (n) => `at least ${n} character${n === 1 ? "" : "s"}`), describe("maxLength", (n) => `at most ${n} characters`),
      describe("minItems", (n) => `at least ${n}`), describe("maxItems", (n) => `at most ${n}`),
      describe("default", (value) => (typeof value === "object" ? null : `default ${JSON.stringify(value)}`)),
    ].filter(Boolean).join(", ");
  }

  /** Return the schema of the object that `given` describes, or that its items or alternatives describe; else null. */
  objectIn(given) {
    const schema = this.resolve(given);
    if (schema.properties) return schema;
    if (schema.type === "array") return this.objectIn(schema.items || {});
    return (schema.anyOf || []).map((each) => this.objectIn(each)).find(Boolean) || null;
  }

  row(name, schema, { required = false, note = "", text = "", depth = 5 } = {}) {
    const cell = make("td", {}, make("code", {}, this.type(schema)), " ", this.bounds(schema));
    const description = text || schema.description || this.resolve(schema).description;
    if (description) cell.append(paragraph(description));
    if (depth < 5 && this.objectIn(schema)) {
      const nested = make("details", { class: "nested" }, make("summary", {}, "members"));
      // Render the table when the reader opens it, because many responses contain the same large schemas.
      nested.addEventListener("toggle", () => nested.childElementCount > 1 || nested.append(this.members(schema, depth + 1)), { once: true });
      cell.append(nested);
    }
    return make("tr", {}, make("td", {}, make("code", required ? { class: "required" } : {}, name), note), cell);
  }

  members(given, depth = 0) {
    const schema = this.objectIn(given);
    if (!schema) return make("p", {}, this.type(given));
    const names = Object.entries(schema.properties);
    if (!names.length) return make("p", {}, "No members.");
    const rows = names.map(([name, member]) => this.row(name, member, { required: (schema.required || []).includes(name), depth }));
    return make("table", {}, make("tbody", {}, rows));
  }
}
