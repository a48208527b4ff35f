// The part of the control page that edits the session: title, labels, metadata, agenda, measured times, and deletion. It is
// loaded when a host opens it.

import { button, element, field } from "../view/dom.js";
import { text } from "../view/texts.js";
import { isFinal } from "./actions.js";
import { AmendForm } from "./amend_form.js";
import { PlanEditor } from "./plan_editor.js";

/**
 * Fill `root` with forms. `send(command, args, options)` sends a command and returns whether the server accepted it. `remove`
 * asks and then deletes the session, null if the caller may not. Return a function that shows a newer state of the session. It does not
 * change a form that the host has begun to edit.
 */
export function showEditor(root, send, remove) {
  const forms = [titleForm(send), labelsForm(send), metadataForm(send)];
  const plan = new PlanEditor(send);
  const amend = new AmendForm(send);
  root.append(...forms.map(({ form }) => form), plan.element, amend.element);
  if (remove) root.append(element("p", {}, button(text("edit.delete"), remove, { className: "destructive" })));
  return (session) => {
    for (const each of forms) each.update(session);
    plan.update(session, isFinal(session));
    amend.update(session, isFinal(session));
  };
}

/**
 * Return a form with one field. `read(session)` returns the text of the field, `write(text, session)` the command and its
 * arguments; it throws an Error with a text for the host if the field has a fault.
 */
function oneFieldForm({ label, save, tag, read, write }, send) {
  const fault = element("p", { role: "alert" });
  const labelled = tag === "textarea" ? element("label", {}, `${label} `, element("textarea", { rows: 4, spellcheck: false })) : field({ label });
  const input = labelled.lastElementChild;
  const form = element("form", {}, labelled, element("button", { textContent: save }), fault);
  let shown = null; // The session that the field shows.
  let isEdited = false;
  input.oninput = () => (isEdited = true);
  form.onsubmit = async (event) => {
    event.preventDefault();
    fault.textContent = "";
    try {
      if (await send(...write(input.value.trim(), shown))) isEdited = false;
    } catch (error) {
      fault.textContent = error.message;
    }
  };
  const update = (session) => {
    shown = session;
    if (!isEdited && input.value !== read(session)) input.value = read(session);
  };
  return { form, update };
}

const titleForm = (send) =>
  oneFieldForm(
    {
      label: text("edit.title"),
      save: text("edit.saveTitle"),
      read: (session) => (typeof session.metadata?.title === "string" ? session.metadata.title : ""),
      write: (title) => ["update_metadata", { metadata: { title: title || null } }],
    },
    send,
  );

const labelsForm = (send) =>
  oneFieldForm(
    {
      label: text("edit.labels", { example: "round=3 table=5" }),
      save: text("edit.saveLabels"),
      read: ({ labels = {} }) => Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(" "),
      write: (pairs, { labels = {} }) => ["update_session", { labels: mergePatch(labels, parseLabels(pairs)) }],
    },
    send,
  );

const metadataForm = (send) =>
  oneFieldForm(
    {
      label: text("edit.metadata"),
      save: text("edit.saveMetadata"),
      tag: "textarea",
      read: ({ metadata }) => JSON.stringify(metadata ?? {}, null, 2),
      write: (json, { metadata }) => ["update_metadata", { metadata: mergePatch(metadata ?? {}, parseObject(json)) }],
    },
    send,
  );

/** Return the labels of a text such as `round=3 table=5`. */
function parseLabels(words) {
  const pairs = words.split(/\s+/).filter(Boolean).map((each) => /^([^=]+)=(.+)$/.exec(each));
  if (pairs.includes(null)) throw new Error(text("edit.labelsFault"));
  return Object.fromEntries(pairs.map(([, key, value]) => [key, value]));
}

function parseObject(json) {
  let value = null;
  try {
    value = JSON.parse(json || "{}");
  } catch {
    // The text below also fits other JSON values.
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(text("edit.metadataFault"));
  return value;
}

/** Return the merge patch (RFC 7396) that makes `before` equal to `after`. A member that has gone is null. */
function mergePatch(before, after) {
  const gone = Object.keys(before).filter((key) => !(key in after)).map((key) => [key, null]);
  const changed = Object.entries(after).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key]));
  return Object.fromEntries([...gone, ...changed.map(([key, value]) => [key, isObject(value) && isObject(before[key]) ? mergePatch(before[key], value) : value])]);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
