// One server for all tests: `synckairos dev` with its own stores, and a second server with authentication on the same
// stores.
import type { TestProject } from "vitest/node";
// @ts-expect-error The script has no types.
import { startServer } from "../scripts/start-server.mjs";
import { startPageServer } from "./pages.js";
import { JWT_SECRET } from "./tokens.js";

declare module "vitest" {
  interface ProvidedContext {
    /** URL of the server without authentication. */
    serverUrl: string;
    /** URL of the server with authentication. Tokens are signed with JWT_SECRET. */
    authUrl: string;
    /** URL of the server of test pages. */
    pagesUrl: string;
    /** What a test needs to start a server of its own on the same stores. */
    stores: Record<string, string>;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const pages = await startPageServer();
  const stops: (() => Promise<void>)[] = [pages.close];
  const stopAll = async () => {
    for (const stop of stops.reverse()) await stop();
  };
  const start = async (args: string[], env: Record<string, string>) => {
    const server = (await startServer(args, env)) as { url: string; output: string; stop: () => Promise<void> };
    stops.push(() => server.stop());
    return server;
  };
  try {
    const common = {
      RATE_LIMIT_GENERAL: "1000000",
      RATE_LIMIT_SWITCH: "1000000",
      SYNCKAIROS_CLIENT_WORK_FACTOR: "1000",
      SYNCKAIROS_ALLOWED_ORIGINS: pages.url,
    };
    const open = await start(["dev", "--port", "0"], common);
    const stores = {
      ...common,
      REDIS_URL: open.output.match(/REDIS_URL='([^']+)'/)?.[1] ?? "",
      DATABASE_URL: open.output.match(/DATABASE_URL='([^']+)'/)?.[1] ?? "",
    };
    const identity = { SYNCKAIROS_AUTH: "required", JWT_SECRET, SYNCKAIROS_KEY_PREFIX: "auth" };
    const guarded = await start(["serve"], { ...stores, ...identity, PORT: "0" });
    project.provide("serverUrl", open.url);
    project.provide("authUrl", guarded.url);
    project.provide("pagesUrl", pages.url);
    project.provide("stores", stores);
  } catch (error) {
    await stopAll();
    throw error;
  }
  return stopAll;
}
