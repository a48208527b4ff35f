// Links: the page redeems the link in the fragment `#link=…` of its address for a session token, which the tab keeps.

import { forgetToken, keepToken, takeFromFragment, takeTokenFromFragment } from "./credential.js";
import { redeemLink } from "./requests.js";

const STORAGE_KEY = "synckairos-link"; // The link, only until the server has answered. A reload then tries again.
const FINAL = new Set([400, 401]); // Statuses after which the same link is never accepted.
const FORBIDDEN = 403; // The server does not use credentials, or not those of this tenant.

/** Return whether the fragment of the address has a credential. */
export const hasCredentialInFragment = () => /^#(token|link)=/.test(location.hash);

/** Return whether there is a link to redeem, in the fragment or from an attempt before a reload. */
export const isLinkWaiting = () => location.hash.startsWith("#link=") || (!hasCredentialInFragment() && read() !== null);

/**
 * Move a credential from the fragment of the address to the storage of the tab: the token of `#token=…`, or the session
 * token that the server gives for `#link=…`. Return null, or the refusal of the link. A refused link removes the earlier
 * token, because it was meant to replace it.
 */
export async function takeCredentialFromFragment() {
  if (takeTokenFromFragment()) return null;
  const link = takeFromFragment("link") ?? read();
  if (link === null) return null;
  store(link);
  try {
    const { token } = await redeemLink(link);
    store(null);
    keepToken(token);
    return null;
  } catch (refusal) {
    if (FINAL.has(refusal.status)) {
      store(null);
      forgetToken();
    } else if (refusal.status === FORBIDDEN) {
      store(null);
      return null;
    }
    return refusal;
  }
}

function read() {
  try {
    return sessionStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

function store(link) {
  try {
    if (link === null) sessionStorage.removeItem(STORAGE_KEY);
    else sessionStorage.setItem(STORAGE_KEY, link);
  } catch {
    // Without the storage, a reload cannot try again.
  }
}
