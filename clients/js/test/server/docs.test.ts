// The programs of the documentation, run as written against a real server. They import the built package.
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, inject, onTestFinished, test, vi } from "vitest";

const folder = fileURLToPath(new URL("../../build/", import.meta.url));
const guide = readFileSync(new URL("../../../../docs/guides/javascript.md", import.meta.url), "utf8");
const programs = [...guide.matchAll(/^```js\n(.*?)^```$/gms)].map(([, text]) => text as string);

/** Write a program of the guide into a file, with the address of the test's server, and return the file. */
function programFile(name: string, text: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}${name}.mjs`, text.replace("http://127.0.0.1:3000", inject("serverUrl")));
  return `${folder}${name}.mjs`;
}

test("the first program of the guide makes, shows and presses a chess clock", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [programFile("guide", programs[0] ?? "")]);
  const lines = stdout.trim().split("\n");
  expect(lines[0]).toBe("White 5:00");
  expect(lines.at(-1)).toBe("2 true");
});

test("the other programs of the guide are modules that load, and their tests pass", async () => {
  const failed = vi.spyOn(console, "assert");
  onTestFinished(() => failed.mockRestore());
  for (const [at, text] of programs.slice(1).entries()) {
    const module = (await import(programFile(`guide-${at}`, text))) as { test?: () => Promise<void> };
    await module.test?.();
  }
  expect(failed).toHaveBeenCalled();
  for (const [condition] of failed.mock.calls) expect(condition).toBe(true);
});
