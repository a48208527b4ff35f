// Makes links to the pages of a session, for the audience, another host or one participant.

import { $ } from "../view/dom.js";
import { LANGUAGES } from "../view/languages.js";
import { nameOf } from "../view/live_session.js";
import { text } from "../view/texts.js";

const MAX_QR_BYTES = 180;
const QR_CODE_URL = new URL("../demo-qr.svg", import.meta.url);

/** The part of the control page that makes links. */
export class LinkMaker {
  #client;
  #sessionId;
  #needsSecret;
  #options = "";

  /** `needsSecret` is whether the server requires a credential, so that a link must have a secret. */
  constructor(client, sessionId, needsSecret) {
    this.#client = client;
    this.#sessionId = sessionId;
    this.#needsSecret = needsSecret;
    $("local").hidden = !isOnlyThisDevice();
    $("make-link").onclick = () => this.#make();
    $("copy").onclick = () => copy();
    $("link-for").onchange = $("link-language").onchange = hideLink;
    const languages = Object.entries(LANGUAGES).map(([tag, name]) => new Option(name, tag));
    $("link-language").replaceChildren(new Option(text("link.ownLanguage"), ""), ...languages);
  }

  /** Offer a link for each page that the session has, and for each participant. */
  update(session) {
    const pages = [["view", text("link.audience")], ...(session.plan ? [["agenda", text("control.agenda")]] : []), ["control", text("link.host")]];
    const people = session.participants.map((each) => [`desk ${each.participant_id}`, nameOf(each)]);
    const options = [...pages, ...people];
    if (JSON.stringify(options) === this.#options) return;
    this.#options = JSON.stringify(options);
    const chosen = $("link-for").value;
    $("link-for").replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === chosen)));
    hideLink();
  }

  async #make() {
    const [name, participant] = $("link-for").value.split(" ");
    $("fault").textContent = "";
    try {
      const url = this.#needsSecret ? await this.#withSecret(name, participant) : this.#plain(name, participant);
      showLink(url);
    } catch (error) {
      $("fault").textContent = error.message;
    }
  }

  #plain(name, participant) {
    const url = new URL(`../${name}/${this.#sessionId}`, import.meta.url);
    if (participant) url.searchParams.set("participant", participant);
    if ($("link-language").value) url.searchParams.set("lang", $("link-language").value);
    return url.href;
  }

  /** Return the URL of a link that the server makes. Its fragment has the secret. */
  async #withSecret(name, participant) {
    const role = participant ? "participant" : name === "control" ? "controller" : "viewer";
    const answer = await this.#client.api.links.create({
      session_id: this.#sessionId,
      role,
      ...(participant ? { participant_id: participant } : {}),
    });
    const url = new URL(this.#plain(name));
    url.hash = new URL(answer.url).hash;
    return url.href;
  }
}

function showLink(url) {
  $("link").href = url;
  $("link").textContent = url.replace(/^https?:\/\//, "");
  $("link").hidden = $("copy").hidden = false;
  $("copy").textContent = text("link.copy");
  $("qr").hidden = true;
  if (url.length <= MAX_QR_BYTES) drawQrCode(url);
}

/** Show the QR code of a link. The link is in the body of the request, because a URL with its secret would be in logs. */
async function drawQrCode(url) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ link: url }) };
  const response = await fetch(QR_CODE_URL, request).catch(() => null);
  if (!response?.ok) return; // The link itself is shown.
  const svg = new DOMParser().parseFromString(await response.text(), "image/svg+xml").documentElement;
  if ($("link").hidden || $("link").href !== url) return; // The user has chosen another link.
  $("qr").replaceChildren(document.importNode(svg, true));
  $("qr").hidden = false;
}

function hideLink() {
  for (const id of ["link", "copy", "qr"]) $(id).hidden = true;
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("link").href);
    $("copy").textContent = text("link.copied");
  } catch {
    getSelection().selectAllChildren($("link")); // Without HTTPS there is no clipboard. The user can copy the selection.
  }
}

function isOnlyThisDevice() {
  return location.hostname === "localhost" || location.hostname === "[::1]" || location.hostname.startsWith("127.");
}
