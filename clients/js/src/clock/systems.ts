// Clock systems: how elapsed time is charged to a budget, and what a finished turn adds. Pure.
//
// The rules are those of docs/reference/clock-systems.md. The server's engine made the vectors in tests/vectors, which
// hold these functions to the same results.
import type { Clock, ParticipantView, SessionView } from "../generated/schemas.js";

/** The facts of a budget beside its time. A member is absent if the clock system does not use it. */
export interface ClockFacts {
  phase?: "main" | "overtime";
  periods_left?: number;
  moves_left?: number;
  stage?: number;
  period_moves?: number;
}

/** A budget: its remaining time in ms, and its facts. */
export interface Budget {
  leftMs: number;
  facts: ClockFacts;
}

const FACTS = ["phase", "periods_left", "moves_left", "stage", "period_moves"] as const;

/** Return the facts of the member `reading` of a participant or group. */
export function factsOf(owner: { reading?: object }): ClockFacts {
  const reading = (owner.reading ?? {}) as Record<string, unknown>;
  return Object.fromEntries(FACTS.filter((name) => name in reading).map((name) => [name, reading[name]]));
}

/** Return the clock system of a participant, or of the session if no participant is given or it has none of its own. */
export const clockOf = (session: SessionView, participant?: ParticipantView): Clock =>
  (participant?.clock ?? session.clock ?? {}) as Clock;

type Stages = NonNullable<Clock["stages"]>;
const stageAt = (stages: Stages, at: number) => stages[at] ?? {};
const freeMs = (delayMs: number | null | undefined, turnUsedMs: number) => Math.max(0, (delayMs ?? 0) - turnUsedMs);
const endsAtZero = (stages: Stages, at: number) => stageAt(stages, at).at_zero === true && at + 1 < stages.length;

/** Return the milliseconds of free time that are left in a turn; undefined if the clock system has no free time. */
export function freeTimeLeftMs(clock: Clock, facts: ClockFacts, turnUsedMs: number): number | undefined {
  if (clock.delay) return freeMs(clock.delay.delay_ms, turnUsedMs);
  if (clock.stages?.some((each) => each.delay_ms)) {
    return freeMs(stageAt(clock.stages, facts.stage ?? 0).delay_ms, turnUsedMs);
  }
  return undefined;
}

/** Return the milliseconds that the clock must still run until it reaches zero. It is below 0 only in overtime. */
export function timeToZeroMs(clock: Clock, { leftMs, facts }: Budget, turnUsedMs: number): number {
  if (clock.byoyomi) return leftMs + periodsBehind(facts) * clock.byoyomi.period_ms;
  if (clock.canadian) return leftMs + (facts.phase === "main" ? clock.canadian.period_ms : 0);
  if (leftMs < 0) return leftMs;
  if (clock.delay) return leftMs + freeMs(clock.delay.delay_ms, turnUsedMs);
  if (!clock.stages) return leftMs;
  let at = facts.stage ?? 0;
  let usedMs = turnUsedMs + freeMs(stageAt(clock.stages, at).delay_ms, turnUsedMs) + leftMs;
  for (; endsAtZero(clock.stages, at); at += 1) {
    usedMs += freeMs(stageAt(clock.stages, at + 1).delay_ms, usedMs) + (stageAt(clock.stages, at).add_ms ?? 0);
  }
  return usedMs - turnUsedMs;
}

const periodsBehind = ({ phase, periods_left = 0 }: ClockFacts) =>
  phase === "main" ? periods_left : Math.max(0, periods_left - 1);

/** Return the budget after `elapsedMs` more of a turn that had used `turnUsedMs` before. */
export function chargeElapsed(clock: Clock, budget: Budget, turnUsedMs: number, elapsedMs: number): Budget {
  const { leftMs, facts } = budget;
  if (elapsedMs === 0) return budget;
  if (clock.delay) {
    return { leftMs: leftMs - Math.max(0, elapsedMs - freeMs(clock.delay.delay_ms, turnUsedMs)), facts };
  }
  if (clock.byoyomi) return chargeByoyomi(clock.byoyomi.period_ms, budget, elapsedMs);
  if (clock.canadian && facts.phase === "main" && elapsedMs >= leftMs) {
    const after: ClockFacts = { ...facts, phase: "overtime", moves_left: clock.canadian.moves };
    if (clock.canadian.moves_step !== undefined) after.period_moves = clock.canadian.moves;
    return { leftMs: clock.canadian.period_ms + leftMs - elapsedMs, facts: after };
  }
  return clock.stages
    ? chargeStages(clock.stages, budget, turnUsedMs, elapsedMs)
    : { leftMs: leftMs - elapsedMs, facts };
}

function chargeByoyomi(periodMs: number, { leftMs, facts }: Budget, elapsedMs: number): Budget {
  if (facts.phase === "main" && elapsedMs < leftMs) return { leftMs: leftMs - elapsedMs, facts };
  const restMs = leftMs + periodsBehind(facts) * periodMs - elapsedMs;
  if (restMs <= 0) return { leftMs: restMs, facts: { phase: "overtime", periods_left: 0 } };
  // A period that has run out exactly is lost.
  const periods = Math.min(facts.periods_left ?? 0, Math.ceil(restMs / periodMs));
  return { leftMs: restMs - (periods - 1) * periodMs, facts: { phase: "overtime", periods_left: periods } };
}

function chargeStages(stages: Stages, budget: Budget, turnUsedMs: number, elapsedMs: number): Budget {
  let { leftMs, facts } = budget;
  let at = facts.stage ?? 0;
  for (;;) {
    const free = freeMs(stageAt(stages, at).delay_ms, turnUsedMs);
    if (!endsAtZero(stages, at) || elapsedMs < free + leftMs) {
      return { leftMs: leftMs - Math.max(0, elapsedMs - free), facts };
    }
    elapsedMs -= free + leftMs;
    turnUsedMs += free + leftMs;
    leftMs = stageAt(stages, at).add_ms ?? 0;
    at += 1;
    facts = stageFacts(stages, at);
  }
}

function stageFacts(stages: Stages, at: number): ClockFacts {
  const moves = stageAt(stages, at).moves;
  return moves == null ? { stage: at } : { moves_left: moves, stage: at };
}

/** Return the budget after a turn that ended at or after its zero. Only `per_move` gives time for the next turn. */
export function replenishAfterFlag(clock: Clock, budget: Budget): Budget {
  return clock.per_move ? { leftMs: clock.per_move.move_ms, facts: {} } : budget;
}

/** Return the budget after a turn that ended before its zero and used `turnUsedMs` in total, which is charged. */
export function replenishAfterTurn(clock: Clock, budget: Budget, turnUsedMs: number): Budget {
  const { leftMs, facts } = budget;
  if (clock.fischer) {
    const raisedMs = leftMs + clock.fischer.increment_ms;
    const capMs = clock.fischer.cap_ms ?? Infinity;
    // Time above the cap comes from the initial budget or an adjustment, and is not taken away.
    return { leftMs: Math.max(leftMs, Math.min(raisedMs, capMs)), facts };
  }
  if (clock.bronstein) return { leftMs: leftMs + Math.min(turnUsedMs, clock.bronstein.delay_ms), facts };
  if (clock.byoyomi) {
    const isMain = facts.phase === "main";
    return { leftMs: isMain ? leftMs + (clock.byoyomi.increment_ms ?? 0) : clock.byoyomi.period_ms, facts };
  }
  if (clock.canadian) return replenishCanadian(clock.canadian, budget);
  if (clock.per_move) return { leftMs: clock.per_move.move_ms, facts };
  return clock.stages ? replenishStages(clock.stages, budget) : budget;
}

function replenishCanadian(clock: NonNullable<Clock["canadian"]>, { leftMs, facts }: Budget): Budget {
  const movesLeft = (facts.moves_left ?? 1) - 1;
  if (facts.phase === "main") return { leftMs, facts };
  if (movesLeft > 0) return { leftMs, facts: { ...facts, moves_left: movesLeft } };
  let moves = clock.moves;
  if (clock.moves_step !== undefined && facts.period_moves !== undefined) {
    moves = facts.period_moves + clock.moves_step;
    if (clock.moves_max !== undefined) moves = Math.min(moves, Math.max(clock.moves_max, clock.moves));
  }
  const after: ClockFacts = { phase: "overtime", moves_left: moves };
  if (clock.moves_step !== undefined) after.period_moves = moves;
  return { leftMs: clock.period_ms, facts: after };
}

function replenishStages(stages: Stages, { leftMs, facts }: Budget): Budget {
  const at = facts.stage ?? 0;
  const raisedMs = leftMs + (stageAt(stages, at).increment_ms ?? 0);
  if (facts.moves_left === undefined) return { leftMs: raisedMs, facts };
  if (facts.moves_left > 1) return { leftMs: raisedMs, facts: { ...facts, moves_left: facts.moves_left - 1 } };
  // The stage is complete. After the last stage only its increment continues.
  const next = at + 1 < stages.length;
  return {
    leftMs: raisedMs + (stageAt(stages, at).add_ms ?? 0),
    facts: next ? stageFacts(stages, at + 1) : { stage: at },
  };
}
