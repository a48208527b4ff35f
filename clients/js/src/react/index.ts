// Hooks for React 18 and newer. They stand on useSyncExternalStore: no tearing, StrictMode, rendering on a server.
import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useMemo,
  useRef,
  useSyncExternalStore,
  type ReactElement,
  type ReactNode,
} from "react";
import {
  UNKNOWN_TEXT,
  type Ack,
  type CommandArguments,
  type CommandName,
  type CommandOptions,
  type ConnectionState,
  type Presence,
  type Session,
  type SyncKairosClient,
  type SyncKairosError,
  type TextFormat,
} from "../index.js";
import { initialText, storesOf, type InitialState, type SessionStore } from "./stores.js";

export type { InitialState } from "./stores.js";

interface Environment {
  client: SyncKairosClient;
  initial: InitialState | undefined;
  only: string | undefined;
}

const EnvironmentContext = createContext<Environment | null>(null);

/**
 * Give a client to the hooks below. `initial` has the sessions with which a server rendered the page; pass the same value
 * for the hydration. `only` is a participant: sessions then have the row of this participant alone, and `useClock`
 * without a participant shows this clock.
 */
export function SyncKairosProvider(props: {
  client: SyncKairosClient;
  initial?: InitialState;
  only?: string;
  children?: ReactNode;
}): ReactElement {
  const { client, initial, only, children } = props;
  const environment = useMemo(() => ({ client, initial, only }), [client, initial, only]);
  return createElement(EnvironmentContext.Provider, { value: environment }, children);
}

function useEnvironment(): Environment {
  const environment = useContext(EnvironmentContext);
  if (!environment) throw new TypeError("the hooks of @synckairos/client/react need a SyncKairosProvider");
  return environment;
}

/** Return the store of a session for the rows that the hooks watch, null for a null id. */
const storeOf = ({ client, only }: Environment, id: string | null): SessionStore | null =>
  id === null ? null : storesOf(client).session(id, only);

/** The client of the nearest SyncKairosProvider. */
export const useClient = (): SyncKairosClient => useEnvironment().client;

const never = () => () => {};
const identity = (session: Session | null): unknown => session;

/** Return whether two selections show the same: equal values, or objects and arrays with equal members. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
  const names = Object.keys(one);
  return (
    Array.isArray(one) === Array.isArray(other) &&
    names.length === Object.keys(other).length &&
    names.every((name) => Object.is((one as Record<string, unknown>)[name], (other as Record<string, unknown>)[name]))
  );
}

/**
 * Return a session with the expected results of unanswered commands, null before the first state. With a selector,
 * return the selected value; the component renders again only if this value changes. A null id watches nothing.
 */
export function useSession(id: string | null): Session | null;
export function useSession<Value>(id: string | null, selector: (session: Session | null) => Value): Value;
export function useSession(id: string | null, selector: (session: Session | null) => unknown = identity): unknown {
  const environment = useEnvironment();
  const { initial } = environment;
  const store = storeOf(environment, id);
  const first = id === null ? null : (initial?.sessions[id] ?? null);
  const last = useRef<{ session: Session | null; selector: unknown; value: unknown } | null>(null);
  const select = (session: Session | null): unknown => {
    const before = last.current;
    if (before && before.session === session && before.selector === selector) return before.value;
    const selected = selector(session);
    const value = before && isSame(before.value, selected) ? before.value : selected;
    last.current = { session, selector, value };
    return value;
  };
  return useSyncExternalStore(
    store?.subscribe ?? never,
    () => select(store?.session ?? first),
    () => select(first),
  );
}

/**
 * Return the text of a clock, such as `4:59`: of a participant, or of the clock that runs. The component renders again
 * only when the text changes. `-:--` while the reading is not known, and for a null id.
 */
export function useClock(id: string | null, participant?: string | null, format: TextFormat = {}): string {
  const { client, initial, only } = useEnvironment();
  const owner = participant ?? only;
  const options = owner === undefined ? format : { ...format, participant: owner };
  const store = id === null ? null : storesOf(client).clock(id, options, only);
  const first = () => (id === null ? UNKNOWN_TEXT : initialText(initial, id, options));
  return useSyncExternalStore(store?.subscribe ?? never, () => store?.text ?? first(), first);
}

/** Return the connected clients of a session, null before the first message about them. */
export function usePresence(id: string | null): Presence | null {
  const store = storeOf(useEnvironment(), id);
  return useSyncExternalStore(
    store?.subscribe ?? never,
    () => store?.presence ?? null,
    () => null,
  );
}

/** Return the error that ended the watch of a session, null while it continues. */
export function useSessionError(id: string | null): SyncKairosError | null {
  const store = storeOf(useEnvironment(), id);
  return useSyncExternalStore(
    store?.subscribe ?? never,
    () => store?.error ?? null,
    () => null,
  );
}

/** Return the state of the client's connection. */
export function useConnection(): ConnectionState {
  const { client } = useEnvironment();
  const subscribe = useCallback((listener: () => void) => client.onState(listener), [client]);
  return useSyncExternalStore(
    subscribe,
    () => client.state,
    () => CONNECTING,
  );
}

const CONNECTING: ConnectionState = { status: "connecting" };

/** Function that sends a command to a session. */
export type SendCommand = <Name extends CommandName>(
  name: Name,
  args?: CommandArguments[Name],
  options?: CommandOptions,
) => Promise<Ack>;

/** Return a function that sends commands to a session. The function stays the same for the same id. */
export function useCommand(id: string | null): SendCommand {
  const { client } = useEnvironment();
  return useCallback<SendCommand>(
    async (name, args, options) => {
      if (id === null) throw new TypeError("there is no session to command");
      return client.command(id, name, args, options);
    },
    [client, id],
  );
}
