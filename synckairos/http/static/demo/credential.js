// The token of this tab. It comes from the fragment of the URL, from a link, or from the sign-in form. Fragments are not sent to the
// server, and the page removes the token from its address immediately. The page sends the token only in a header.

const STORAGE_KEY = "synckairos-demo-token";
const TOKEN = /^[!-~]{1,7900}$/; // Visible ASCII characters. Other characters are not allowed in a header.

let token = readStored();

/** Return whether this tab has a token. */
export const hasToken = () => token !== null;

/** Return the token of this tab, null without one. */
export const currentToken = () => token;

/** Return the header that sends the token; no header without a token. */
export const authorizationHeader = () => (token === null ? {} : { Authorization: `Bearer ${token}` });

/** Keep a token until the tab is closed. Return false if the text cannot be a token. The earlier token is then kept. */
export function keepToken(text) {
  if (!TOKEN.test(text)) return false;
  token = text;
  try {
    sessionStorage.setItem(STORAGE_KEY, text);
  } catch {
    // Some browsers refuse the storage. The page then keeps the token until it is loaded again.
  }
  return true;
}

/** Forget the token. */
export function forgetToken() {
  token = null;
  try {
    sessionStorage.removeItem(STORAGE_KEY);
  } catch {
    // Without the storage there is nothing to remove.
  }
}

/** Forget the sessions that the SDK keeps in this tab for the next load of the page. */
export function forgetSessions() {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith("synckairos:")) sessionStorage.removeItem(key);
  } catch {
    // Without the storage there is nothing to remove.
  }
}

/**
 * Move a token from the fragment `#token=…` of the address to the storage. Return whether the fragment had one. A text
 * that cannot be a token removes the earlier token, because the link was meant to replace it.
 */
export function takeTokenFromFragment() {
  const found = takeFromFragment("token");
  if (found === null) return false;
  if (!keepToken(found)) forgetToken();
  return true;
}

/** Return a member of the fragment, and remove the fragment from the address. Return null if it has no such member. */
export function takeFromFragment(name) {
  const found = new URLSearchParams(location.hash.slice(1)).get(name);
  if (found === null) return null;
  const url = new URL(location.href);
  url.hash = "";
  history.replaceState(null, "", url);
  return found;
}

function readStored() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}
