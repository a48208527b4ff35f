// Pages with the built package, and a Chromium that opens them.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Start a server of pages on a free port. `open(html)` opens a page with this body in a new Chromium. */
export async function startPages() {
  let body = "";
  const server = createServer((request, response) => {
    const path = join(dist, new URL(request.url, "http://page").pathname);
    if (path.endsWith(".js")) response.writeHead(200, { "Content-Type": "text/javascript" }).end(readFileSync(path));
    else response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(`<!doctype html><body>${body}`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    async open(html) {
      body = html;
      const browser = await chromium.launch({ executablePath: chromiumPath(), args: ARGS });
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      await page.goto(url);
      return { browser, page };
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function chromiumPath() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
  const folders = ["", ...(process.env.PATH ?? "").split(delimiter)];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
  if (!found) throw new Error("the figures need Chromium: run apt-get install chromium, or set CHROMIUM");
  return found;
}
