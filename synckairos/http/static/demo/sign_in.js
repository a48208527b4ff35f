// The sign-in form, and the name of the caller with the button that signs out.

import { keepToken } from "./credential.js";
import { exchangeKey } from "./rest.js";

const STORED_CREDENTIAL = "synckairos_"; // API keys and session tokens begin with this text.
const FORBIDDEN = 403; // A session token cannot be exchanged.
const NO_TOKEN = "This text is no token. A token has no spaces, and only ASCII characters.";

const $ = (id) => document.getElementById(id);

/**
 * Connect the form and the button. `onsignin` is called when the form has kept a token. An API key is exchanged for a
 * session token, so that the tab does not keep the key.
 */
export function setUpSignIn(onsignin, onsignout) {
  $("sign-in").onsubmit = async (event) => {
    event.preventDefault();
    const text = $("token").value.trim().replace(/^Bearer\s+/i, "");
    $("token").value = "";
    try {
      if (keepToken(await tokenFor(text))) onsignin();
      else showSignIn(NO_TOKEN);
    } catch (refusal) {
      showSignIn(refusal.message);
    }
  };
  $("sign-out").onclick = onsignout;
}

async function tokenFor(text) {
  if (!text.startsWith(STORED_CREDENTIAL)) return text;
  try {
    return await exchangeKey(text);
  } catch (refusal) {
    if (refusal.status === FORBIDDEN) return text;
    throw refusal;
  }
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
  if ($("join-token")) $("join-token").hidden = !isShown; // Only the demo makes links for a second player.
  $("caller-name").textContent = isShown ? `${caller.subject} (${caller.role})` : "";
}
