// The session of a page: its client, its watch, and the texts about the connection. The pages of one session share it.

import { currentToken } from "../demo/credential.js";
import { isLinkWaiting, takeCredentialFromFragment } from "../demo/link_credential.js";
import { connect, setDefaultClient } from "../demo/sdk.js";
import { languageFault, text } from "./texts.js";

const LIMITED = 429;
const UNAUTHORIZED = 401;
const RETRY_MS = 5_000; // Used if the server does not say when to try again.

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TOO_MANY_CONNECTIONS = 4520; // Close code.

const ERROR_TEXTS = {
  SESSION_NOT_FOUND: "page.noSession",
  SESSION_DELETED: "page.deleted",
  FORBIDDEN: "page.noAccess",
  SUBSCRIPTION_REFUSED: "page.noAccess",
};

/**
 * Watch the session whose id ends the path of the page. `show(session)` is called with each state. `faults`, which are texts
 * about the options of the link, are shown while there is no text about the connection. The element `#notice` gets the texts, and the attribute `data-state` of the
 * document says `loading`, `live`, `lost`, `limited` or `ended`. `readCaller` returns the answer of `GET /v1/me` for the
 * session, or null if the page has ended.
 */
export function openLiveSession({ show, faults = [] }) {
  const allFaults = [languageFault, ...faults].filter(Boolean).join("; ");
  const faultText = allFaults && text("page.linkFault", { faults: allFaults });
  const hasLink = isLinkWaiting();
  const credential = takeCredentialFromFragment();
  const page = document.documentElement;
  const notice = document.getElementById("notice");
  const sessionId = location.pathname.toLowerCase().match(UUID)[0];
  let isEnded = false;
  let limitText = ""; // Why the page waits, while the server limits its rate.

  const token = currentToken();
  const source = hasLink || isSessionToken(token) ? { getToken } : token === null ? {} : { token };
  const client = connect(new URL("..", import.meta.url).href, source);
  setDefaultClient(client);
  const watch = client.watch(sessionId);
  client.onState(showConnection);
  watch.subscribe(showSession);
  queueMicrotask(() => showConnection(client.state));
  return { client, watch, sessionId, end, readCaller };

  /** Read the rights of the caller. While the server limits the rate of the page, the page says so and tries again. */
  async function readCaller() {
    for (;;) {
      try {
        const caller = await client.api.me.get({ session_id: sessionId });
        showLimit("");
        return caller;
      } catch (error) {
        if (error.status !== LIMITED) {
          if (error.status !== UNAUTHORIZED) end(text("page.noRights", { message: error.message }));
          return null; // After 401 the connection ends too, and its text says more.
        }
        const waitMs = error.retryAfterMs ?? RETRY_MS;
        showLimit(text("page.limited", { n: Math.ceil(waitMs / 1000) }));
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  function showLimit(words) {
    if (words === limitText) return;
    limitText = words;
    notify("", watch.state ? "live" : "loading");
    showConnection(client.state);
  }

  /** Return the session token of the link. Each use extends the token, so the client renews it with the same text. */
  async function getToken() {
    const refusal = await credential;
    if (refusal) {
      end(text(refusal.status === 401 ? "page.linkRefused" : "page.linkFailed"));
      throw refusal;
    }
    return currentToken() ?? undefined;
  }

  function showConnection({ status, code }) {
    if (status === "unauthorized") end(text(currentToken() === null ? "page.tokenNeeded" : "page.tokenEnded"));
    else if (status === "closed" && code === TOO_MANY_CONNECTIONS) end(text("page.tooManyConnections"));
    else if (status === "closed") end(text("page.closed"));
    else if (status === "reconnecting") notify(text(watch.state ? "page.reconnecting" : "page.unreachable"), "lost");
    else if (status === "connected" && watch.state) notify("", "live");
  }

  function showSession() {
    if (watch.error) {
      const name = ERROR_TEXTS[watch.error.code];
      if (name) end(text(name));
    } else if (watch.shown) {
      if (client.state.status === "connected") notify("", "live");
      show(watch.shown);
    }
  }

  /** Show a text about the connection, or the faults of the link if there is none. */
  function notify(words, state) {
    if (isEnded) return;
    const isLimited = limitText !== "" && state !== "ended";
    page.dataset.state = isLimited ? "limited" : state;
    notice.textContent = (isLimited ? limitText : words) || faultText;
    notice.hidden = notice.textContent === "";
  }

  /** Show that the page has nothing more to show, and why. */
  function end(words) {
    if (isEnded) return;
    notify(words, "ended");
    isEnded = true;
    setTimeout(() => client.close());
  }
}

const isSessionToken = (token) => token?.startsWith("synckairos_") ?? false;

/** Show the title of a session in the heading `#title` and in the title of the page. Return the title, empty if unset. */
export function showTitle(session) {
  const title = typeof session.metadata?.title === "string" ? session.metadata.title : "";
  document.getElementById("title").textContent = title || text("page.session");
  document.title = `${title || text("page.session")} · SyncKairos`;
  return title;
}

/**
 * Return the item of the plan and the participant that have the turn, or that are next in a hold, in one text. If all act
 * at once, the text names no participant.
 */
export function turnText(session) {
  const item = session.plan?.find((each) => each.item_id === (session.next_item_id ?? session.current_item_id));
  const active = session.close_when_all_done ? undefined : session.participants.find((each) => each.is_active);
  const turn = [item && (item.title ?? item.item_id), active?.display_name].filter(Boolean).join(" · ");
  return turn && session.pauses.some(({ reason }) => reason === "hold") ? text("page.next", { turn }) : turn;
}

/** Return the name of a participant, or its number if it has no name. */
export const nameOf = (participant) => participant.display_name ?? text("clock.participant", { n: participant.participant_index + 1 });

/** Show an element of the client for the session, or hide it. */
export function showElement(element, isShown, attributes) {
  element.hidden = !isShown;
  if (!isShown) return;
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}
