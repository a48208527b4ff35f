// Custom elements: <sync-clock>, <sync-board>, <sync-controls> and <sync-agenda>. Importing this module defines them.
import { SyncAgenda } from "./agenda.js";
import { define } from "./base.js";
import { SyncBoard } from "./board.js";
import { SyncClock } from "./clock.js";
import { SyncControls } from "./controls.js";

export { setDefaultClient, SessionElement } from "./base.js";
export { SyncAgenda, SyncBoard, SyncClock, SyncControls };

define("sync-clock", SyncClock);
define("sync-board", SyncBoard);
define("sync-controls", SyncControls);
define("sync-agenda", SyncAgenda);

declare global {
  interface HTMLElementTagNameMap {
    "sync-clock": SyncClock;
    "sync-board": SyncBoard;
    "sync-controls": SyncControls;
    "sync-agenda": SyncAgenda;
  }
}
