// Merge patches (RFC 7396) between two versions of a session's document.
//
// A patch applies to the keyed form of a document: participants, groups and plan items are objects by id instead of
// arrays, and a member that can be null can be absent instead.
import type { GroupView, ParticipantView, PlanItemView, SessionView } from "./generated/schemas.js";

type Json = Record<string, unknown>;

/** The keyed form of a document, to which patches apply. */
export type KeyedDocument = Json & {
  participants: Record<string, ParticipantView>;
  groups: Record<string, GroupView>;
  plan?: Record<string, PlanItemView>;
};

const NULLABLE = [
  "active_participant_id",
  "active_group_id",
  "time_remaining_ms",
  "time_per_cycle_ms",
  "max_cycles",
  "deadline_at",
  "cycle_started_at",
  "session_started_at",
  "session_completed_at",
] as const;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Return `target` with `patch` merged in. Neither argument is changed; the result shares values with both. */
export function mergePatch(target: unknown, patch: Json): Json {
  // Metadata can have any member name. As an own property, `__proto__` is an ordinary name.
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, isObject(value) ? mergePatch(merged.get(name), value) : value);
  }
  return Object.fromEntries(merged);
}

/** Return the keyed form of a document. `document` is not changed. */
export function keyedDocument(document: SessionView): KeyedDocument {
  return {
    ...document,
    participants: Object.fromEntries(document.participants.map((each) => [each.participant_id, each])),
    groups: Object.fromEntries(document.groups.map((each) => [each.group_id, each])),
    ...(document.plan ? { plan: Object.fromEntries(document.plan.map((each) => [each.item_id, each])) } : {}),
  } as KeyedDocument;
}

/** Return the document of a keyed form. Members that a patch removed are null again. */
export function documentFromKeyed(keyed: KeyedDocument): SessionView {
  const participants = Object.values(keyed.participants)
    .map((each) => ("display_name" in each ? each : { ...(each as ParticipantView), display_name: null }))
    .sort((one, other) => one.participant_index - other.participant_index);
  const nulls = Object.fromEntries(NULLABLE.map((name) => [name, null]));
  // A server of an earlier release sends a plan as an array.
  const plan = keyed.plan && Object.values(keyed.plan).sort((one, other) => one.index - other.index);
  const rows = { participants, groups: Object.values(keyed.groups), ...(plan ? { plan } : {}) };
  return { ...nulls, ...keyed, ...rows } as unknown as SessionView;
}
