// Builds the parts of this package that the pages of the server use. The built files are committed, so that the server
// needs no Node.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("../", import.meta.url));
const NOTE = "// Built from clients/js by `npm run pages`. Do not edit.";

/** Path of the built file of the demo page. */
export const DEMO_FILE = fileURLToPath(new URL("../../../synckairos/http/static/demo/sdk.js", import.meta.url));

/** Return the text of the built file of the demo page. */
export async function buildDemo() {
  const result = await build({
    absWorkingDir: folder,
    entryPoints: ["src/pages/demo.ts"],
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    banner: { js: NOTE },
    write: false,
  });
  return result.outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(DEMO_FILE, await buildDemo());
