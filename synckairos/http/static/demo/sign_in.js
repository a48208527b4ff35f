// The sign-in form, and the name of the caller with the button that signs out.

import { keepToken } from "./credential.js";

const NO_TOKEN = "This text is no token. A token has no spaces, and only ASCII characters.";

const $ = (id) => document.getElementById(id);

/** Connect the form and the button. `onsignin` is called when the form has kept a token. */
export function setUpSignIn(onsignin, onsignout) {
  $("sign-in").onsubmit = (event) => {
    event.preventDefault();
    const text = $("token").value.trim().replace(/^Bearer\s+/i, "");
    $("token").value = "";
    if (keepToken(text)) onsignin();
    else showSignIn(NO_TOKEN);
  };
  $("sign-out").onclick = onsignout;
}

/** Show the form, with the reason why the last token does not work any more. An empty reason shows none. */
export function showSignIn(reason) {
  $("sign-in-reason").textContent = reason;
  $("sign-in").hidden = false;
  $("token").focus();
}

export const hideSignIn = () => ($("sign-in").hidden = true);

/** Show the name and the highest role of a caller. Show nothing for null, and while authentication is off. */
export function showCaller(caller) {
  const isShown = caller !== null && caller.kind !== "anonymous";
  $("caller").hidden = !isShown;
  $("join-token").hidden = !isShown;
  $("caller-name").textContent = isShown ? `${caller.subject} (${caller.role})` : "";
}
