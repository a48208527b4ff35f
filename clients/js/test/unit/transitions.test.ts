import { expect, test } from "vitest";
import type { PredictedCommand } from "../../src/clock/predict.js";
import { predict } from "../../src/clock/transitions.js";
import type { SessionView } from "../../src/generated/schemas.js";
import { documentFromKeyed, keyedDocument, mergePatch, type KeyedDocument } from "../../src/merge-patch.js";
import { readVectors } from "../vectors.js";

interface Vector {
  name: string;
  session: SessionView;
  now_ms: number;
  measured_lag_ms: number;
  results: { command: PredictedCommand; args: object; patch: Record<string, unknown> | null }[];
}

const cases = readVectors<Vector[]>("transitions.json").flatMap(({ results, name, ...vector }) =>
  results.map((each) => ({ ...vector, ...each, name: `${name}: ${each.command} ${JSON.stringify(each.args)}` })),
);

test.each(cases)("$name", ({ session, command, args, now_ms, measured_lag_ms, patch }) => {
  const expected = patch && documentFromKeyed(mergePatch(keyedDocument(session), patch) as KeyedDocument);
  const before = structuredClone(session);
  expect(withoutNullReadings(predict(session, command, args, now_ms, measured_lag_ms))).toEqual(
    withoutNullReadings(expected),
  );
  expect(session).toEqual(before);
});

/** A patch removes members that become null, so `free_until_at` is absent or null, with the same meaning. */
function withoutNullReadings(session: SessionView | null): unknown {
  return JSON.parse(JSON.stringify(session, (name, value) => (name === "free_until_at" ? (value ?? undefined) : value)));
}
