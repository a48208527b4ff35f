// The uses of the gallery: the preset of each, and what its two screens show. Pure.

/**
 * Each use has a preset and two screens. A screen is a `host` with the buttons of the session, a `desk` with the button of
 * one participant, or a `view` without buttons. `participant` is the place of the participant in the session.
 */
export const USES = {
  chess: {
    title: "Chess",
    text: "Each player presses on an own phone. The increment comes with each move.",
    preset: "chess/lichess-blitz",
    screens: [{ kind: "desk", title: "White’s phone", participant: 0 }, { kind: "desk", title: "Black’s phone", participant: 1 }],
  },
  quiz: {
    title: "Quiz",
    text: "The host ends a question early, shows the answer, and goes on. The audience sees the same clock.",
    preset: "quiz/20-seconds",
    screens: [{ kind: "host", title: "Host" }, { kind: "view", title: "Screen for the audience" }],
  },
  auction: {
    title: "Auction",
    text: "A bid in the last two minutes extends the time. Of two bids at once, the server accepts one.",
    preset: "auction/soft-close",
    screens: [{ kind: "desk", title: "Phone of bidder 1", participant: 1 }, { kind: "desk", title: "Phone of bidder 2", participant: 2 }],
  },
  debate: {
    title: "Debate",
    text: "Eight speeches with protected time. A speech that runs over is counted in words and below zero.",
    preset: "debate/british-parliamentary",
    screens: [{ kind: "host", title: "Chair" }, { kind: "view", title: "Screen in the hall" }],
  },
  meeting: {
    title: "Meeting",
    text: "An agenda with planned and expected times. When an item runs over, all expected times move.",
    preset: "meeting/agenda",
    screens: [{ kind: "host", title: "Chair" }, { kind: "view", title: "Screen in the room" }],
  },
  exam: {
    title: "Exam",
    text: "Each candidate has a clock, one with extra time. A candidate hands in early, and the others go on.",
    preset: "exam/extra-time",
    screens: [{ kind: "host", title: "Supervisor" }, { kind: "desk", title: "Phone of candidate 1", participant: 0 }],
  },
  hours: {
    title: "Hours",
    text: "Working time counts up, and pauses are not counted. Reports sum it for each person.",
    preset: "work/timesheet",
    screens: [{ kind: "host", title: "Worker" }, { kind: "view", title: "Screen of the office" }],
  },
};

const HIDDEN_ACTIONS = new Set(["complete", "cancel", "reopen"]);

/**
 * Return the buttons of a screen: `{label, command, args, isEnabled, needsTurn}`. `label` is the name of a text. `actions` are
 * the modules of the pages for hosts and participants: `{sessionActions, participantActions, pressOf}`.
 */
export function screenButtons(screen, session, { sessionActions, participantActions, pressOf }) {
  if (screen.kind === "view") return [];
  if (screen.kind === "host") return sessionActions(session).filter((each) => !HIDDEN_ACTIONS.has(each.id));
  const participant = session.participants[screen.participant];
  const bid = session.extend_on_switch_ms === undefined ? null : participantActions(session, participant).find((each) => each.label === "action.bid");
  if (bid) return [bid];
  const { label, command, args } = pressOf(session, participant);
  return [{ label, command, args, isEnabled: command !== null }];
}
