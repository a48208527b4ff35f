// The vectors that the server's engine made. They are in tests/vectors of the repository.
import { readFileSync } from "node:fs";

/** Return the content of a file of vectors. */
export function readVectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../tests/vectors/${name}`, import.meta.url), "utf8")) as T;
}
