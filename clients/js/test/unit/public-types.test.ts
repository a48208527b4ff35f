import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL("../../", import.meta.url));

interface Package {
  exports: Record<string, { types: string }>;
}

/** Return the built declaration files that a declaration file imports, itself included. The generated ones are left out. */
function declarationFiles(path: string, found: Map<string, string>): Map<string, string> {
  if (found.has(path) || path.startsWith("dist/generated/")) return found;
  const text = readFileSync(join(folder, path), "utf8");
  found.set(path, text);
  for (const [, imported = ""] of text.matchAll(/from "(\.[^"]+)\.js"/g)) {
    declarationFiles(`${join(dirname(path), imported)}.d.ts`, found);
  }
  return found;
}

// A changed snapshot is a changed interface: npm test -- -u accepts it, and the changelog must name it.
test("the public types are those of the snapshot", async () => {
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package;
  const found = new Map<string, string>();
  for (const { types } of Object.values(exports)) declarationFiles(types.replace("./", ""), found);
  const text = [...found].sort().map(([path, content]) => `// ${path}\n${content}`).join("\n");
  await expect(text).toMatchFileSnapshot("../snapshots/public-types.txt");
});
