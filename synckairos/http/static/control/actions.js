// What a host can do with a session now, by its mode and status. Pure. The server decides; a button that the server would
// refuse is disabled, and a button that the mode does not have is not in the list.

const MINUTE_MS = 60_000;
const FINAL = new Set(["expired", "completed", "cancelled"]);

export const isFinal = (session) => FINAL.has(session.status);
const isIndividual = (session) => session.sync_mode === "individual";
const isHeld = (session) => session.pauses.some((each) => each.reason === "hold");
const isOpen = (session) => session.status === "running" || session.status === "paused";
const hasEdition2 = (session) => session.turn_number !== undefined;

/** Return the items of the plan before and after the item that is current or comes next, null if there is none. */
export function neighbours(session) {
  const plan = session.plan ?? [];
  const at = plan.findIndex((each) => each.item_id === (session.next_item_id ?? session.current_item_id));
  return { before: plan[at - 1] ?? null, after: at < 0 ? null : (plan[at + 1] ?? null) };
}

/**
 * Return the actions on the whole session, in the order of their buttons: `{id, label, command, args, isEnabled}`. `label` is the name of a text. If
 * `needsTurn`, the command must name the turn that the page shows, so that a late press changes nothing. If `isFinalStep`, the
 * page asks before it sends the command.
 */
export function sessionActions(session) {
  const actions = [mainAction(session)];
  const add = (id, label, command, args, isEnabled, more = {}) => actions.push({ id, label, command, args, isEnabled, ...more });
  const turn = { needsTurn: true };
  if (!isIndividual(session)) {
    const { before } = neighbours(session);
    if (session.plan) {
      add("back", "action.previousItem", "switch", { item_id: before?.item_id }, before !== null && isOpen(session), turn);
    }
    if (hasTurns(session)) {
      const isPressed = session.status === "running" || (session.status === "paused" && allowsSwitchInPause(session));
      add("next", nextLabel(session), "switch", {}, isPressed && !isHeld(session), turn);
      if (hasEdition2(session) && session.between_turns === undefined && session.sync_mode === "per_cycle") {
        add("hold", "action.hold", "switch", { hold: true }, session.status === "running", turn);
      }
    }
  }
  const minute = (sign) => ({ delta_ms: sign * MINUTE_MS, ...adjustTarget(session) });
  if (session.sync_mode !== "count_up" || session.max_time_ms !== undefined) {
    add("minus", "action.minus", "adjust", minute(-1), !isFinal(session), turn);
    add("plus", "action.plus", "adjust", minute(1), !isFinal(session), turn);
  }
  if (!isIndividual(session) && hasEdition2(session)) {
    add("undo", "action.undo", "undo", {}, isOpen(session) && session.turn_number > (isHeld(session) ? 0 : 1), turn);
  }
  const canReopen = session.status === "expired" || session.status === "completed";
  if (hasEdition2(session)) add("reopen", "action.reopen", "reopen", { delta_ms: MINUTE_MS }, canReopen);
  add("complete", "action.finish", "complete", {}, isOpen(session), { isFinalStep: true });
  add("cancel", "action.cancel", "cancel", {}, !isFinal(session), { isFinalStep: true });
  return actions;
}

/** Return the action of the largest button and of the space bar: start, pause or resume. */
function mainAction(session) {
  const action = (label, command, isEnabled) => ({ id: "main", label, command, args: {}, isEnabled });
  if (isFinal(session)) return action("action.start", "start", false);
  if (session.status === "pending") return action("action.start", "start", true);
  if (session.status === "running") return action("action.pause", "pause", true);
  if (isHeld(session)) return action(session.plan ? "action.beginItem" : "action.beginTurn", "resume", true);
  return action("action.resume", "resume", true);
}

/** Return the actions on one participant, in the order of their buttons. */
export function participantActions(session, participant) {
  const id = participant.participant_id;
  const actions = [];
  const add = (name, label, command, args, isEnabled, more = {}) =>
    actions.push({ id: `${name}-${id}`, label, command, args, isEnabled, ...more });
  const own = { participant_ids: [id] };
  if (isIndividual(session)) {
    const { status } = participant;
    const isDone = status === "finished" || status === "expired";
    const isStarted = !isFinal(session);
    add("start", "action.start", "start", own, isStarted && status === "waiting");
    if (status === "paused") add("pause", "action.resume", "resume", own, isStarted);
    else add("pause", "action.pause", "pause", own, isStarted && status === "running");
    add("finish", "action.finish", "finish", own, isStarted && (status === "running" || status === "paused"));
    if (isDone) add("reopen", "action.reopen", "reopen", { ...own, delta_ms: MINUTE_MS }, true);
  } else if (!session.plan && hasTurns(session)) {
    const isPossible = session.status === "running" && !participant.is_active;
    const label = session.extend_on_switch_ms === undefined ? "action.giveTurn" : "action.bid";
    add("turn", label, "switch", { next_participant_id: id }, isPossible, { needsTurn: true });
  }
  if (session.close_when_all_done) {
    const isDone = participant.done_turn === session.turn_number;
    add("done", isDone ? "action.done" : "action.markDone", "done", { participant_id: id }, session.status === "running" && !isDone, { needsTurn: true });
  }
  if (isIndividual(session) || session.sync_mode === "per_participant") {
    add("minus", "action.minus", "adjust", { delta_ms: -MINUTE_MS, ...own }, !isFinal(session));
    add("plus", "action.plus", "adjust", { delta_ms: MINUTE_MS, ...own }, !isFinal(session));
  }
  add("remove", "action.remove", "remove_participant", { participant_id: id }, !isFinal(session), { isFinalStep: true });
  return actions;
}

/** Return the action that goes to an item of a plan, for the list of items. */
export function itemAction(session, item) {
  const isCurrent = item.item_id === (session.next_item_id ?? session.current_item_id);
  const args = { item_id: item.item_id };
  return { id: `item-${item.item_id}`, label: "action.goTo", command: "switch", args, isEnabled: isOpen(session) && !isCurrent, needsTurn: true };
}

/** Return whether a session has turns that a switch ends. */
function hasTurns(session) {
  return session.sync_mode === "per_cycle" || session.participants.length > 0 || session.extend_on_switch_ms !== undefined;
}

function nextLabel(session) {
  if (session.between_turns === "hold") return session.plan ? "action.endItem" : "action.endTurn";
  if (session.plan) return "action.nextItem";
  if (session.extend_on_switch_ms !== undefined) return "action.bid";
  return session.sync_mode === "per_cycle" ? "action.nextCycle" : "action.nextTurn";
}

function allowsSwitchInPause(session) {
  return session.switch_while_paused === true || session.pauses.some((each) => each.reason === "timeout");
}

/** Return whose time an adjustment changes: the one whose clock runs or would run, or all. */
function adjustTarget(session) {
  const { sync_mode: mode, active_participant_id: participant, active_group_id: group } = session;
  if (mode === "per_participant" && participant !== null) return { participant_ids: [participant] };
  return mode === "per_group" && group !== null ? { group_id: group } : {};
}
