// The page /view: a form that makes the link of a view and its QR code.

import { LANGUAGES } from "./languages.js";
import { writeOptions } from "./options.js";

const UUID_INSIDE = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/; // A link to a session has its id.
const MAX_QR_BYTES = 180;

const $ = (id) => document.getElementById(id);
const form = $("form");

function update() {
  const id = $("session").value.toLowerCase().match(UUID_INSIDE)?.[0];
  for (const each of ["link", "copy"]) $(each).hidden = !id;
  $("fault").textContent = id ? "" : $("session").value ? "This text has no id of a session." : "Enter a session.";
  $("qr").hidden = true;
  $("long").hidden = true;
  $("copy").textContent = "Copy";
  if (!id) return;
  const query = writeOptions({
    face: $("face").value,
    theme: $("theme").value,
    lang: $("lang").value,
    message: $("message").value,
    freeze_overtime: $("freeze_overtime").checked ? "1" : "",
    bg: $("bg").checked ? "transparent" : "",
    hide: [...form.querySelectorAll("fieldset :checked")].map(({ value }) => value),
  });
  const url = new URL(id, new URL("./", import.meta.url));
  url.search = query;
  $("link").href = url.href;
  $("link").textContent = url.href.replace(/^https?:\/\//, "");
  const isLong = url.href.length > MAX_QR_BYTES;
  $("long").hidden = !isLong;
  if (!isLong) $("qr").src = new URL(`../demo-qr.svg?link=${encodeURIComponent(url.href)}`, import.meta.url);
}

$("qr").onload = () => ($("qr").hidden = false);
$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("link").href);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("link")); // Without HTTPS there is no clipboard. The user can copy the selection.
  }
};
$("lang").append(...Object.entries(LANGUAGES).map(([tag, name]) => new Option(name, tag)));
form.oninput = update;
form.onsubmit = (event) => event.preventDefault();
const given = new URLSearchParams(location.search).get("session");
if (given) $("session").value = given;
update();
