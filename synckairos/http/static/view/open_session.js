// The pages /control, /desk and /agenda without an id: a form that opens the page of a session.

import { text } from "./texts.js";

const UUID_INSIDE = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/; // A link to a session has its id.

document.getElementById("form").onsubmit = (event) => {
  event.preventDefault();
  const id = document.getElementById("session").value.toLowerCase().match(UUID_INSIDE)?.[0];
  if (id) location.assign(`${location.pathname.replace(/\/?$/, "/")}${id}${location.search}`);
  else document.getElementById("fault").textContent = text("open.fault");
};
document.title = `${text("open.title")} · SyncKairos`;
