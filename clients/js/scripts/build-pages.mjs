// Builds the parts of this package that the pages of the server use. The built files are committed, so that the server
// needs no Node.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("../", import.meta.url));
const target = fileURLToPath(new URL("../../../synckairos/http/static/demo/", import.meta.url));
const NOTE = "// Built from clients/js by `npm run pages`. Do not edit.";

/** The built files, with their sources. Few pages need an event stream, so the client loads its module on demand. */
const ENTRIES = { "sdk.js": "src/pages/demo.ts", "event-stream.js": "src/event-stream.ts" };

const eventStreamIsExternal = {
  name: "event-stream",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/event-stream\.js$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** Return the text of each built file, by its path. */
export async function buildPages() {
  const built = Object.entries(ENTRIES).map(async ([name, source]) => {
    const result = await build({
      absWorkingDir: folder,
      entryPoints: [source],
      bundle: true,
      format: "esm",
      target: "es2022",
      minify: true,
      plugins: [eventStreamIsExternal],
      banner: { js: NOTE },
      write: false,
    });
    return [target + name, result.outputFiles[0].text];
  });
  return Object.fromEntries(await Promise.all(built));
}

/** Build the files and write them. */
export async function writePages() {
  for (const [path, text] of Object.entries(await buildPages())) writeFileSync(path, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writePages();
