// The positions of watched sessions over a reload of the page, in the storage of this tab.
import { tabStorage } from "./environment.js";
import type { SavedReplica } from "./replica.js";

/** Characters: larger sessions are not stored, because the storage of a tab is small. */
const MAX_CHARACTERS = 256 * 1024;

const keyOf = (serverUrl: string, sessionId: string) => `synckairos:${serverUrl}:${sessionId}`;

/** Store the copy of a session for the next page of this tab. Does nothing if there is no storage or no room. */
export function saveReplica(serverUrl: string, sessionId: string, saved: SavedReplica | null): void {
  const text = JSON.stringify(saved);
  if (!saved || text.length > MAX_CHARACTERS) return;
  try {
    tabStorage()?.setItem(keyOf(serverUrl, sessionId), text);
  } catch {
    // The storage is full. The next page then starts with a full state.
  }
}

/** Take the copy that the last page of this tab stored, null if there is none. */
export function takeReplica(serverUrl: string, sessionId: string): SavedReplica | null {
  const key = keyOf(serverUrl, sessionId);
  try {
    const text = tabStorage()?.getItem(key);
    if (!text) return null;
    tabStorage()?.removeItem(key);
    const saved = JSON.parse(text) as SavedReplica;
    return typeof saved.state?.version === "number" && Array.isArray(saved.state.participants) ? saved : null;
  } catch {
    return null;
  }
}
