// Builds dist/: one ESM file for each entry point, with types. Fails if an entry point is larger than its budget.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

/** Entry points, with their maximum size in bytes after gzip. The size has all modules that an import loads at once. */
const KIB = 1024;
const ENTRIES = [
  { name: "index", source: "src/index.ts", maxBytes: 12 * KIB },
  { name: "react", source: "src/react/index.ts", maxBytes: 2 * KIB },
  { name: "elements", source: "src/elements/index.ts", maxBytes: 8 * KIB },
  { name: "testing", source: "src/testing/index.ts" },
  { name: "devtools", source: "src/devtools/index.ts" },
];

/** The other entry points import the core as a module of its own, so that a page has it once. */
const coreIsExternal = {
  name: "core",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: "./index.js", external: true }));
  },
};

rmSync("dist", { recursive: true, force: true });
const outputs = {};
for (const core of [true, false]) {
  const entries = ENTRIES.filter(({ name }) => (name === "index") === core);
  const result = await build({
    entryPoints: Object.fromEntries(entries.map(({ name, source }) => [name, source])),
    outdir: "dist",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    ignoreAnnotations: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    minify: true,
    sourcemap: true,
    metafile: true,
    jsx: "automatic",
    external: ["react", "react/jsx-runtime"],
    plugins: core ? [] : [coreIsExternal],
  });
  Object.assign(outputs, result.metafile.outputs);
}
execFileSync("node_modules/.bin/tsc", ["-p", "."], { stdio: "inherit" });

/** Return the files that an import of an output loads at once, the output included. */
function staticFiles(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const each of outputs[path].imports) if (each.kind === "import-statement" && !each.external) staticFiles(each.path, found);
  return found;
}

const gzipBytes = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
let isTooLarge = false;
for (const { name, maxBytes = Infinity } of ENTRIES) {
  const bytes = [...staticFiles(`dist/${name}.js`)].reduce((sum, path) => sum + gzipBytes(path), 0);
  const budget = maxBytes === Infinity ? "" : ` of ${maxBytes}`;
  console.log(`${name.padEnd(9)} ${String(bytes).padStart(6)}${budget} bytes after gzip`);
  isTooLarge ||= bytes > maxBytes;
}
const lazy = Object.keys(outputs).filter((path) => outputs[path].entryPoint && !ENTRIES.some(({ name }) => path === `dist/${name}.js`) && path.endsWith(".js"));
for (const path of lazy) console.log(`${"later".padEnd(9)} ${String(gzipBytes(path)).padStart(6)} bytes after gzip, ${outputs[path].entryPoint}`);
if (isTooLarge) {
  console.error("An entry point is larger than its budget");
  process.exit(1);
}
