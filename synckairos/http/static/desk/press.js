// What the large button of a participant does now. Pure.

const FINAL_WORDS = { expired: "Time is up", completed: "Finished", cancelled: "Cancelled" };
const CLOCK_WORDS = { waiting: "Not started", paused: "Paused", finished: "Finished", expired: "Time is up" };

/**
 * Return what the button of a participant shows and does: `{label, command, args}`. `command` is null if it does nothing now.
 * The label then says why.
 */
export function pressOf(session, participant) {
  const id = participant.participant_id;
  const nothing = (label) => ({ label, command: null, args: {} });
  if (FINAL_WORDS[session.status]) return nothing(FINAL_WORDS[session.status]);
  if (session.sync_mode === "individual") {
    const isRunning = participant.status === "running";
    return isRunning ? { label: "Hand in", command: "finish", args: { participant_ids: [id] } } : nothing(CLOCK_WORDS[participant.status]);
  }
  if (session.status === "pending") return nothing("Not started");
  if (session.pauses.some(({ reason }) => reason === "hold")) return nothing("Wait for the next");
  const isAtZero = session.pauses.some(({ reason }) => reason === "timeout");
  if (session.status === "paused" && !session.switch_while_paused && !isAtZero) return nothing("Paused");
  if (session.close_when_all_done) {
    const isDone = participant.done_turn === session.turn_number;
    return isDone ? nothing("Done. Wait for the others") : { label: "Done", command: "done", args: { participant_id: id } };
  }
  if (participant.has_expired) return nothing("Time is up");
  if (!participant.is_active) return nothing("Wait");
  return { label: "Press", command: "switch", args: { current_participant_id: id } };
}
