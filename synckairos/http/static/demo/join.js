// Links with which another screen joins the same session, and the QR codes of these links.

/**
 * Return the URL of the page for one view of a session: white, black, wall, or "" for both boards. `only` is the
 * participant whose clock the page shows alone, or null.
 */
export function seatUrl(sessionId, seat, only = null) {
  const url = new URL(location.pathname, location.href);
  url.searchParams.set("session", sessionId);
  if (seat) url.searchParams.set("board", seat);
  if (only !== null) url.searchParams.set("only", only);
  return url.href;
}

/** Return whether only this machine can open the links of the page, because its address is a loopback address. */
export function isOnlyThisMachine() {
  return location.hostname === "localhost" || location.hostname === "[::1]" || location.hostname.startsWith("127.");
}

/** Show the QR code of a link, which the server draws, in an image. Hide the image if the code cannot be loaded. */
export function showQrCode(image, link) {
  image.onload = () => (image.hidden = false);
  image.onerror = () => (image.hidden = true);
  image.src = new URL(`../demo-qr.svg?link=${encodeURIComponent(link)}`, import.meta.url);
}

/**
 * Connect the join dialog with its button. `current` returns the id `sessionId` of the session that the page shows, whether
 * the session `hasSeats`, and the participant `only` whose clock the other screen shows alone, or null.
 */
export function setUpJoinDialog(current) {
  const dialog = document.getElementById("join-dialog");
  const link = document.getElementById("link");
  const copy = document.getElementById("copy");
  const seats = document.getElementById("seats");
  document.getElementById("join-warning").hidden = !isOnlyThisMachine();
  const update = () => {
    const { sessionId, hasSeats, only } = current();
    seats.hidden = !hasSeats;
    const url = hasSeats ? seatUrl(sessionId, seats.querySelector(":checked").value) : seatUrl(sessionId, "", only);
    link.href = url;
    link.textContent = url.replace(/^https?:\/\//, "");
    copy.textContent = "Copy";
    showQrCode(document.getElementById("qr"), url);
  };
  seats.onchange = update;
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(link.href);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(link); // Without HTTPS there is no clipboard. The user can copy the selection.
    }
  };
  document.getElementById("join").onclick = () => {
    update();
    dialog.showModal();
  };
}
