// Custom elements: <sync-clock>, <sync-board> and <sync-controls>. Importing this module defines them.
import { define } from "./base.js";
import { SyncBoard } from "./board.js";
import { SyncClock } from "./clock.js";
import { SyncControls } from "./controls.js";

export { setDefaultClient, SessionElement } from "./base.js";
export { SyncBoard, SyncClock, SyncControls };

define("sync-clock", SyncClock);
define("sync-board", SyncBoard);
define("sync-controls", SyncControls);

declare global {
  interface HTMLElementTagNameMap {
    "sync-clock": SyncClock;
    "sync-board": SyncBoard;
    "sync-controls": SyncControls;
  }
}
