// The functions of `Api`. The table of all operations is large, so it is loaded with the first request.
import type { Api } from "./generated/operations.js";
import type { RestEnvironment } from "./rest.js";

/** Return an object whose members `make` creates. It has no member `then`, because it is not a promise. */
const lazyMembers = (make: (name: string) => unknown): object =>
  new Proxy({}, { get: (_, name) => (typeof name === "string" && name !== "then" ? make(name) : undefined) });

/** Return the operations of a server. Each function rejects with RequestFailed if the request fails. */
export const createApi = (environment: RestEnvironment): Api =>
  lazyMembers((group) =>
    lazyMembers((name) => async (...given: unknown[]) => {
      const { callOperation } = await import("./rest.js");
      return callOperation(environment, group, name, given);
    }),
  ) as Api;
