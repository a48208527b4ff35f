// A set of listeners. A listener that throws does not stop the others.

/** Function that removes a listener. Further calls do nothing. */
export type Unsubscribe = () => void;

/** Call a listener. Its error is reported like an uncaught error, so that the caller continues. */
export function callSafely<Value>(listener: (value: Value) => void, value: Value): void {
  try {
    listener(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Listeners that get one value. */
export class Listeners<Value = void> {
  /** Made with the first listener, because a process can have thousands of clients. */
  #listeners: Set<(value: Value) => void> | null = null;

  /** Add a listener. The same function can be added more than once. */
  add(listener: (value: Value) => void): Unsubscribe {
    const entry = (value: Value) => listener(value);
    this.#listeners ??= new Set();
    this.#listeners.add(entry);
    return () => this.#listeners?.delete(entry);
  }

  /** Call all listeners. */
  notify(value: Value): void {
    for (const listener of [...(this.#listeners ?? [])]) {
      if (this.#listeners?.has(listener)) callSafely(listener, value);
    }
  }
}
