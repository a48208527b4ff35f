// The sockets, out of /asyncapi.json: each dialect's messages, ways and close codes.

import { Schemas, example, make, paragraph, prose, shown } from "/docs/schema.js";

const HOW = {
  v3: (url) => [
    `const socket = new WebSocket("${url}", "synckairos.v3");`,
    'socket.onopen = () => socket.send(JSON.stringify({ type: "SUBSCRIBE", session_id: "…" }));',
    "socket.onmessage = ({ data }) => console.log(JSON.parse(data));",
  ],
  v2: (url) => [`const socket = new WebSocket("${url}?sessionId=…");`, "socket.onmessage = ({ data }) => console.log(JSON.parse(data).state);"],
};

const message = (schemas, dialect, { name, summary, payload, examples }, way, answers) => {
  const inside = make("div", { class: "inside" });
  const details = make(
    "details", { class: "operation", id: `${dialect}.${way}.${name}` },
    make("summary", {}, make("span", { class: `method ${way}` }, way === "ask" ? "SEND" : "RECEIVE"), make("span", { class: "path" }, name),
      make("span", { class: "says" }, prose(summary || ""))),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    inside.append(make("h3", {}, "Example"), example(shown(examples[0].payload)), make("h3", {}, "Members"), schemas.members(payload));
    const byCommand = (schemas.resolve(payload).allOf || []).map((each) => [each.if.properties.command.const, each.then.properties.args]);
    if (byCommand.length) {
      const rows = byCommand.map(([command, args]) => schemas.row(command, args, { depth: 4 }));
      inside.append(make("h3", {}, "Arguments by command"), make("table", {}, make("tbody", {}, rows)));
    }
    if (answers) inside.append(make("h3", {}, "Answers"), make("p", {}, answers.join(", ")));
  });
  return details;
};

const nameOf = ({ $ref }) => $ref.split("/").pop();

const channel = (schemas, dialect, described, operations) => {
  const mine = Object.values(operations).filter((each) => nameOf(each.channel) === dialect);
  const answers = Object.fromEntries(
    mine.filter((each) => each.action === "receive").map((each) => [nameOf(each.messages[0]), each.reply.messages.map(nameOf)]),
  );
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${described.address}`;
  const asked = (name) => name in answers;
  const all = Object.entries(described.messages).map(([name, reference]) => [name, schemas.resolve(reference)]);
  const codes = Object.entries(described["x-close-codes"]).map(([code, meaning]) =>
    make("tr", {}, make("td", {}, make("code", {}, code)), make("td", {}, prose(meaning))));
  return [
    make("h2", { id: dialect }, described.title), paragraph(described.description), example(HOW[dialect](url).join("\n")),
    make("h3", {}, "You send"), all.filter(([name]) => asked(name)).map(([name, each]) => message(schemas, dialect, each, "ask", answers[name])),
    make("h3", {}, "You get"), all.filter(([name]) => !asked(name)).map(([, each]) => message(schemas, dialect, each, "told")),
    make("h3", {}, "Close codes"), make("table", {}, make("tbody", {}, codes)),
  ].flat();
};

/** Nodes of all dialects, and the links to them. */
export const renderSockets = (document) => {
  const schemas = new Schemas(document);
  const channels = Object.entries(document.channels);
  return {
    nodes: channels.flatMap(([dialect, described]) => channel(schemas, dialect, described, document.operations)),
    links: channels.map(([dialect, { title }]) => make("a", { href: `#${dialect}` }, title)),
  };
};
