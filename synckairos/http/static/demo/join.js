// Links by which another screen joins the same game, and the code that a phone's camera reads.

import { qr } from "./qr.js";

const QUIET = 3; // modules of white around the code

/** The address of this game for one seat: white, black, wall, or "" for both boards. */
export function seatUrl(sessionId, seat) {
  const url = new URL(location.pathname, location.href);
  url.searchParams.set("session", sessionId);
  if (seat) url.searchParams.set("board", seat);
  return url.href;
}

/** Draw the code of a link into an SVG of one rect and one path. */
export function drawQr(svg, text) {
  const grid = qr(text);
  svg.toggleAttribute("hidden", grid === null);
  if (!grid) return;
  const side = String(grid.length + 2 * QUIET);
  const dark = grid.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : "")));
  svg.setAttribute("viewBox", `${-QUIET} ${-QUIET} ${side} ${side}`);
  const [paper, ink] = svg.children;
  for (const [name, value] of Object.entries({ x: -QUIET, y: -QUIET, width: side, height: side })) {
    paper.setAttribute(name, value);
  }
  ink.setAttribute("d", dark.join(""));
}

/** Open the dialog for a game. `current` gives the id of the game at hand. */
export function setUpJoin(current) {
  const dialog = document.getElementById("join-dialog");
  const link = document.getElementById("link");
  const copy = document.getElementById("copy");
  const seats = document.getElementById("seats");
  const show = () => {
    const url = seatUrl(current(), seats.querySelector(":checked").value);
    link.href = url;
    link.textContent = url.replace(/^https?:\/\//, "");
    copy.textContent = "Copy";
    drawQr(document.getElementById("qr"), url);
  };
  seats.onchange = show;
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(link.href);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(link); // no clipboard over plain HTTP: leave it selected
    }
  };
  document.getElementById("join").onclick = () => {
    show();
    dialog.showModal();
  };
}
