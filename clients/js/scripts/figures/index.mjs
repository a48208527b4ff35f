// Measures what the guide of this package promises, with a real server and Chromium, and prints it beside each limit:
// `npm run figures`. Fails if a figure is above its limit. The figures depend on the machine and on its other work.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { startServer } from "../start-server.mjs";
import { measureClocks } from "./clocks.mjs";
import { measureFirstReading } from "./first-reading.mjs";
import { measureMemory } from "./memory.mjs";
import { startPages } from "./pages.mjs";

process.chdir(fileURLToPath(new URL("../..", import.meta.url)));
execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });

const pages = await startPages();
const server = await startServer(["dev", "--port", "0"], {
  RATE_LIMIT_GENERAL: "1000000",
  SYNCKAIROS_ALLOWED_ORIGINS: pages.url,
});
let isAbove = false;

/** Print a figure beside its limit, null for a figure without one. */
function show(name, value, limit, unit) {
  const bound = limit === null ? "" : `of ${limit}`;
  console.log(`${name.padEnd(58)} ${value.toFixed(2).padStart(8)} ${bound.padEnd(8)}${unit}`);
  isAbove ||= limit !== null && value > limit;
}

try {
  for (const { name, percent, limit } of await measureClocks(pages, server.url)) show(name, percent, limit, "% of a core");
  for (const { name, roundTrips, limit } of await measureFirstReading(pages, server.url)) show(name, roundTrips, limit, "round trips");
  for (const { name, ratio, limit } of await measureMemory(server.url)) show(name, ratio, limit, "times a bare socket");
} finally {
  await server.stop();
  await pages.close();
}
if (isAbove) {
  console.error("A figure is above its limit");
  process.exitCode = 1;
}
