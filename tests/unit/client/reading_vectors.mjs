// Print the vectors that the readings of the web pages do not match, as JSON. Arguments: the module, the vectors.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const [modulePath, vectorsPath] = process.argv.slice(2);
const { expectedStartsMs, readGroup, readParticipant, readSession } = await import(modulePath);

const differing = [];
for (const { name, now_ms: now, session, shown, expected_starts: starts = {} } of JSON.parse(readFileSync(vectorsPath, "utf8"))) {
  const found = {
    ...readSession(session, now),
    participants: Object.fromEntries(session.participants.map((p) => [p.participant_id, readParticipant(session, p, now)])),
    groups: Object.fromEntries(session.groups.map((g) => [g.group_id, readGroup(session, g, now)])),
  };
  const expected = Object.fromEntries(expectedStartsMs(session, now));
  if (!isDeepStrictEqual(expected, starts)) differing.push({ name, found: expected, shown: starts });
  if (!isDeepStrictEqual(found, shown)) differing.push({ name, found, shown });
}
console.log(JSON.stringify(differing));
