// A server of test pages: each page is a module of test/browser/pages, bundled with the sources of the package.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("./browser/pages/", import.meta.url));
const built = fileURLToPath(new URL("../build/", import.meta.url));

async function bundle(name: string): Promise<string> {
  const result = await build({
    entryPoints: [`${folder}${name}`],
    bundle: true,
    ignoreAnnotations: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
    write: false,
  });
  return result.outputFiles[0]?.text ?? "";
}

/**
 * Start the server on a free port. `/chess` is the page of chess.ts or chess.tsx. `/quick-starts/vue` is a page that a
 * test has built.
 */
export async function startPageServer(): Promise<{ url: string; close: () => Promise<void> }> {
  const bundles = new Map<string, Promise<string>>();
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://page").pathname.slice(1);
    if (/^quick-starts\/[\w-]+$/.test(path)) {
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
      response.end(readFileSync(`${built}${path}.html`));
    } else if (!/^[\w-]+(\.tsx?)?$/.test(path)) {
      response.writeHead(404).end();
    } else if (/\.tsx?$/.test(path)) {
      if (!bundles.has(path)) bundles.set(path, bundle(path));
      (bundles.get(path) as Promise<string>).then(
        (text) => response.writeHead(200, { "Content-Type": "text/javascript" }).end(text),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    } else {
      const script = path.startsWith("react") ? `${path}.tsx` : `${path}.ts`;
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
      response.end(`<!doctype html><title>${path}</title><body><script type="module" src="/${script}"></script></body>`);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
