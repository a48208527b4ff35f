// What the large button of a participant does now. Pure.

const FINAL = new Set(["expired", "completed", "cancelled"]);

/**
 * Return what the button of a participant shows and does: `{label, command, args}`. `label` is the name of a text. `command` is
 * null if the button does nothing now. The label then says why.
 */
export function pressOf(session, participant) {
  const id = participant.participant_id;
  const nothing = (label) => ({ label, command: null, args: {} });
  if (FINAL.has(session.status)) return nothing(`desk.${session.status}`);
  if (session.sync_mode === "individual") {
    const isRunning = participant.status === "running";
    return isRunning ? { label: "desk.finish", command: "finish", args: { participant_ids: [id] } } : nothing(`desk.${participant.status}`);
  }
  if (session.status === "pending") return nothing("desk.waiting");
  if (session.pauses.some(({ reason }) => reason === "hold")) return nothing("desk.hold");
  const isAtZero = session.pauses.some(({ reason }) => reason === "timeout");
  if (session.status === "paused" && !session.switch_while_paused && !isAtZero) return nothing("desk.paused");
  if (session.close_when_all_done) {
    const isDone = participant.done_turn === session.turn_number;
    return isDone ? nothing("desk.isDone") : { label: "desk.done", command: "done", args: { participant_id: id } };
  }
  if (participant.has_expired) return nothing("desk.expired");
  if (!participant.is_active) return nothing("desk.wait");
  return { label: "desk.press", command: "switch", args: { current_participant_id: id } };
}
