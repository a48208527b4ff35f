// The document of a new session, for the fake server.
import { instantText, setDerivedMembers } from "../clock/derived-members.js";
import type { Budget } from "../clock/systems.js";
import type { Clock, CreateSession, GroupView, ParticipantView, PlanItemView, SessionView } from "../generated/schemas.js";

const DEFAULT_BUDGET_MS = 600_000;

/**
 * Return a pending session of the second edition, as a server makes it of the same body. Budgets that the body leaves out
 * are ten minutes. The fake does not validate the body.
 */
export function makeSession(body: CreateSession, sessionId: string, epoch: string, nowMs: number): SessionView {
  const at = instantText(nowMs);
  const clock = withDefaults((body.clock ?? clockOfIncrement(body.increment_ms)) as Clock);
  const shareMs = body.total_time_ms ?? body.max_time_ms ?? DEFAULT_BUDGET_MS;
  const participants = (body.participants ?? []).map((each, index): ParticipantView => {
    const own = each.clock && withDefaults(each.clock as Clock);
    const budget = initialBudget(own ?? clock, (each.total_time_ms as number | undefined) ?? shareMs);
    const view: ParticipantView = {
      participant_id: each.participant_id,
      participant_index: each.participant_index ?? index,
      display_name: each.display_name ?? null,
      total_time_ms: budget.leftMs,
      time_used_ms: 0,
      time_remaining_ms: budget.leftMs,
      cycle_count: 0,
      is_active: false,
      has_expired: false,
      reading: budget.facts,
    };
    if (each.group_id != null) view.group_id = each.group_id;
    if (own) view.clock = { ...own };
    return view;
  });
  const groups = (body.groups ?? []).map((each): GroupView => {
    const budget = initialBudget(clock, each.total_time_ms ?? DEFAULT_BUDGET_MS);
    const times = { total_time_ms: budget.leftMs, time_used_ms: 0, time_remaining_ms: budget.leftMs };
    return { group_id: each.group_id, ...times, has_expired: false, reading: budget.facts };
  });
  const plan = body.plan?.map(
    (each, index): PlanItemView => ({
      item_id: String(index + 1),
      ...each,
      index,
      status: "pending",
      time_used_ms: 0,
    }),
  );
  const session = {
    session_id: sessionId,
    sync_mode: body.sync_mode,
    status: "pending",
    version: 1,
    epoch,
    participants,
    groups,
    active_participant_id: body.active_participant_id ?? null,
    active_group_id: null,
    total_time_ms: 0,
    time_used_ms: body.initial_ms ?? 0,
    time_remaining_ms: sessionBudgetMs(body),
    time_per_cycle_ms: body.sync_mode === "per_cycle" && !plan ? (body.time_per_cycle_ms ?? DEFAULT_BUDGET_MS) : null,
    max_cycles: body.max_cycles ?? null,
    clock: { ...clock },
    on_timeout: body.on_timeout ?? "expire",
    warnings_ms: body.warnings_ms ?? [],
    pauses: [],
    deadline_at: null,
    cycle_started_at: null,
    session_started_at: null,
    session_completed_at: null,
    created_at: at,
    updated_at: at,
    metadata: body.metadata ?? {},
    turn: { used_ms: 0, cycles: 0, warned_ms: [] },
    turn_number: 0,
    ...(plan ? { plan } : {}),
    ...(body.between_turns === "hold" ? { between_turns: "hold" } : {}),
    ...(body.increment_ms == null ? {} : { increment_ms: body.increment_ms }),
    ...(body.max_time_ms == null ? {} : { max_time_ms: body.max_time_ms }),
    ...(body.switch_while_paused ? { switch_while_paused: true } : {}),
  };
  return setDerivedMembers(session as unknown as SessionView);
}

const clockOfIncrement = (incrementMs: number | null | undefined): Clock =>
  incrementMs ? { fischer: { increment_ms: incrementMs } } : { sudden_death: {} };

/** Return a clock system with the settings that a server adds. */
const withDefaults = (clock: Clock): Clock =>
  clock.stages ? { stages: clock.stages.map((each) => ({ add_ms: 0, increment_ms: 0, ...each })) } : clock;

function sessionBudgetMs(body: CreateSession): number | null {
  switch (body.sync_mode) {
    case "global":
      return body.total_time_ms ?? DEFAULT_BUDGET_MS;
    case "per_cycle":
      return body.plan?.[0]?.time_ms ?? body.time_per_cycle_ms ?? DEFAULT_BUDGET_MS;
    case "count_up":
      return body.max_time_ms == null ? null : body.max_time_ms - (body.initial_ms ?? 0);
    default:
      return null;
  }
}

/** Return the budget before the first turn. */
function initialBudget(clock: Clock, budgetMs: number): Budget {
  if (clock.per_move) return { leftMs: clock.per_move.move_ms, facts: {} };
  if (clock.stages) {
    const moves = clock.stages[0]?.moves;
    return { leftMs: budgetMs, facts: moves == null ? { stage: 0 } : { stage: 0, moves_left: moves } };
  }
  const overtime = clock.byoyomi ?? clock.canadian;
  if (!overtime) return { leftMs: budgetMs, facts: {} };
  const phase = budgetMs === 0 ? "overtime" : "main";
  const facts = clock.byoyomi
    ? { phase, periods_left: clock.byoyomi.periods }
    : {
        phase,
        moves_left: clock.canadian?.moves,
        ...(clock.canadian?.moves_step == null ? {} : { period_moves: clock.canadian.moves }),
      };
  return { leftMs: budgetMs || overtime.period_ms, facts: facts as Budget["facts"] };
}
