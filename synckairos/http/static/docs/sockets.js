// The part of the API page about sockets: messages in both directions and close codes of each dialect.

import { Schemas, example, formatJson, make, paragraph, prose } from "./schema.js";

const CONNECT_EXAMPLES = {
  v3: (url) => [
    `const socket = new WebSocket("${url}", "synckairos.v3");`,
    'socket.onopen = () => socket.send(JSON.stringify({ type: "SUBSCRIBE", session_id: "…" }));',
    "socket.onmessage = ({ data }) => console.log(JSON.parse(data));",
  ],
  v2: (url) => [`const socket = new WebSocket("${url}?sessionId=…");`, "socket.onmessage = ({ data }) => console.log(JSON.parse(data).state);"],
};

const message = (schemas, dialect, { name, summary, payload, examples }, direction, replies) => {
  const inside = make("div", { class: "inside" });
  const details = make(
    "details", { class: "operation", id: `${dialect}.${direction}.${name}` },
    make("summary", {}, make("span", { class: `method ${direction}` }, direction === "sent" ? "SEND" : "RECEIVE"), make("span", { class: "path" }, name),
      make("span", { class: "summary" }, prose(summary || ""))),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    inside.append(make("h3", {}, "Example"), example(formatJson(examples[0].payload)), make("h3", {}, "Members"), schemas.members(payload));
    const byCommand = (schemas.resolve(payload).allOf || []).map((each) => [each.if.properties.command.const, each.then.properties.args]);
    if (byCommand.length) {
      const rows = byCommand.map(([command, args]) => schemas.row(command, args, { depth: 4 }));
      inside.append(make("h3", {}, "Arguments by command"), make("table", {}, make("tbody", {}, rows)));
    }
    if (replies) inside.append(make("h3", {}, "Replies"), make("p", {}, replies.join(", ")));
  });
  return details;
};

const nameOf = ({ $ref }) => $ref.split("/").pop();

const channel = (schemas, dialect, described, operations) => {
  const mine = Object.values(operations).filter((each) => nameOf(each.channel) === dialect);
  const replies = Object.fromEntries(
    mine.filter((each) => each.action === "receive").map((each) => [nameOf(each.messages[0]), each.reply.messages.map(nameOf)]),
  );
  const url = new URL(`..${described.address}`, import.meta.url).href.replace(/^http/, "ws");
  const isSent = (name) => name in replies;
  const all = Object.entries(described.messages).map(([name, reference]) => [name, schemas.resolve(reference)]);
  const codes = Object.entries(described["x-close-codes"]).map(([code, meaning]) =>
    make("tr", {}, make("td", {}, make("code", {}, code)), make("td", {}, prose(meaning))));
  return [
    make("h2", { id: dialect }, described.title), paragraph(described.description), example(CONNECT_EXAMPLES[dialect](url).join("\n")),
    make("h3", {}, "Messages that clients send"), all.filter(([name]) => isSent(name)).map(([name, each]) => message(schemas, dialect, each, "sent", replies[name])),
    make("h3", {}, "Messages that clients receive"), all.filter(([name]) => !isSent(name)).map(([, each]) => message(schemas, dialect, each, "received")),
    make("h3", {}, "Close codes"), make("table", {}, make("tbody", {}, codes)),
  ].flat();
};

/** Return the DOM nodes for all dialects, and the links to the dialects for the table of contents. */
export const renderSockets = (document) => {
  const schemas = new Schemas(document);
  const channels = Object.entries(document.channels);
  return {
    nodes: channels.flatMap(([dialect, described]) => channel(schemas, dialect, described, document.operations)),
    links: channels.map(([dialect, { title }]) => make("a", { href: `#${dialect}` }, title)),
  };
};
