// The page /agenda/{id}: the items of a plan with planned and expected times, for everyone.

import { AnnouncementDisplay } from "../view/announcement.js";
import { openLiveSession, showElement, showTitle } from "../view/live_session.js";

const $ = (id) => document.getElementById(id);
const { client, sessionId } = openLiveSession({ show });
const announcement = new AnnouncementDisplay($("announcement"), () => client.now());
$("view").href = new URL(`../view/${sessionId}`, import.meta.url).href;

function show(session) {
  showTitle(session);
  announcement.show(session);
  const hasPlan = session.plan !== undefined;
  showElement($("clock"), hasPlan, { session: sessionId });
  showElement($("agenda"), hasPlan, { session: sessionId });
  $("none").hidden = hasPlan;
}
