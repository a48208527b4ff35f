// What the caller is allowed to do with the game. The server decides; the page only hides what the server would refuse.

const ROLES = ["viewer", "participant", "controller", "admin"];

/**
 * Return the rights of a caller. `caller` is the answer of `GET /v1/me` for the session, null before this answer. `state`
 * is the newest state of the session, null before the first message.
 *
 * - `create`, `start`, `adjust`, `pause`, `resume`: whether the caller is allowed to do this.
 * - `press`: whether it is allowed to end the turn of the participant with this id.
 */
export function rightsFor(caller, state) {
  const level = ROLES.indexOf(caller?.session_role);
  const isController = level >= ROLES.indexOf("controller");
  const own = level === ROLES.indexOf("participant") ? caller.participant_id : null;
  const takesPart = own !== null && (state?.participants.some((each) => each.participant_id === own) ?? false);
  const hasOwnPause = state?.pauses?.some((each) => each.paused_by === `participant:${own}`) ?? false;
  return {
    create: caller?.role === "admin",
    start: isController,
    adjust: isController,
    pause: isController || takesPart,
    resume: isController || (takesPart && hasOwnPause),
    press: (participantId) => isController || (takesPart && participantId === own),
  };
}
