// The programs of docs/start in Chromium, as they are written, with the address of the test's server.
import { build, type Plugin } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { compile as compileSvelte } from "svelte/compiler";
import { compileScript, parse as parseVue } from "vue/compiler-sfc";
import { expect, inject, test } from "vitest";
import { ADA, BOB, connectTo, createSession } from "../helpers.js";
import { useChromium } from "./chromium.js";

const open = useChromium();
const root = fileURLToPath(new URL("../../", import.meta.url));

/** Return the files of each section of a page of the documentation. A line with the name is before each file. */
function programs(name: string): Map<string, Map<string, string>> {
  const text = readFileSync(`${root}../../docs/start/${name}.md`, "utf8").replaceAll("http://127.0.0.1:3000", inject("serverUrl"));
  const sections = text.split(/^## /m).slice(1);
  return new Map(
    sections.map((section) => [
      section.slice(0, section.indexOf("\n")),
      new Map([...section.matchAll(/^`([\w.]+)`:\n\n```\w+\n(.*?)^```$/gms)].map(([, file = "", content = ""]) => [file, content])),
    ]),
  );
}

/** The package as an application imports it, and components of frameworks. */
const application: Plugin = {
  name: "application",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^@synckairos\/client/ }, ({ path }) => {
      const entry = path.slice("@synckairos/client/".length);
      return { path: entry ? `${root}src/${entry}/index.ts` : `${root}src/index.ts` };
    });
    onLoad({ filter: /\.vue$/ }, ({ path }) => {
      const { descriptor } = parseVue(readFileSync(path, "utf8"), { filename: path });
      return { contents: compileScript(descriptor, { id: "clock", inlineTemplate: true }).content, resolveDir: dirname(path) };
    });
    onLoad({ filter: /\.svelte$/ }, ({ path }) => {
      const { js, warnings } = compileSvelte(readFileSync(path, "utf8"), { filename: path, generate: "client" });
      expect(warnings).toEqual([]);
      return { contents: js.code, resolveDir: dirname(path) };
    });
  },
};

/** Bundle a program, and write its HTML with the bundle as its module for the server of test pages. */
async function bundle(name: string, files: Map<string, string>): Promise<void> {
  const folder = `${root}build/quick-starts/${name}`;
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of files) writeFileSync(`${folder}/${file}`, content);
  const page = [...files].find(([file]) => file.endsWith(".html"))?.[1] ?? '<!doctype html><div id="app"></div><script type="module"></script>';
  const [whole, script = ""] = /<script type="module">(.*?)<\/script>/s.exec(page) ?? [];
  const entry = ["main.jsx", "main.js"].find((file) => files.has(file)) ?? "page.js";
  if (entry === "page.js") writeFileSync(`${folder}/page.js`, script);
  const result = await build({
    entryPoints: [`${folder}/${entry}`],
    bundle: true,
    ignoreAnnotations: true,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    conditions: ["browser", "production"],
    define: { "process.env.NODE_ENV": '"production"', __VUE_OPTIONS_API__: "false", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false" },
    plugins: [application],
    write: false,
  });
  const code = (result.outputFiles[0]?.text ?? "").replaceAll("</script", "<\\/script");
  writeFileSync(`${folder}.html`, page.replace(whole as string, () => `<script type="module">${code}</script>`));
}

/** Open a program in a page of its own. */
async function run(name: string, files: Map<string, string>, parameters: Record<string, string>): Promise<Page> {
  await bundle(name, files);
  return open(`quick-starts/${name}`, parameters);
}

test.each(["Without a framework", "React", "Vue", "Svelte", "With elements"])("the quick start of %s shows and presses a clock", async (name) => {
  const { session_id: session } = await createSession();
  const { api } = connectTo(inject("serverUrl"));
  await api.sessions.start(session);
  const page = await run(name.replaceAll(" ", "-"), programs("frameworks").get(name) as Map<string, string>, { session, participant: ADA });
  await page.getByText(/^(10:00|9:5\d)/).first().waitFor();
  await page.getByRole("button", { name: "Press" }).click();
  await expect.poll(async () => (await api.sessions.get(session)).active_participant_id).toBe(BOB);
});

test("the chess clock has at most 50 lines, and two screens play", async () => {
  const files = programs("fifty-lines").get("Chess clock") as Map<string, string>;
  expect(files.get("chess.html")?.trimEnd().split("\n").length).toBeLessThanOrEqual(50);
  const first = await run("chess", files, { screen: "1" });
  const [white, black] = [first.locator("button").first(), first.locator("button").last()];
  await white.getByText("3:00").waitFor();
  const session = new URL(first.url()).searchParams.get("session") as string;
  const second = await run("chess", files, { session });
  await second.locator("button", { hasText: "3:00" }).first().click();
  await first.getByText("running").waitFor();
  await white.getByText("2:59").waitFor();
  await white.click();
  await second.locator("button").last().getByText("2:5").waitFor();
  expect([await white.isDisabled(), await black.isDisabled()]).toEqual([true, false]);
  const state = await connectTo(inject("serverUrl")).api.sessions.get(session);
  expect([state.version, state.turn_number]).toEqual([3, 2]);
});

test("the quiz has at most 50 lines, and the audience sees the questions of the host", async () => {
  const files = programs("fifty-lines").get("Quiz") as Map<string, string>;
  expect(files.get("quiz.html")?.trimEnd().split("\n").length).toBeLessThanOrEqual(50);
  const host = await run("quiz", files, { screen: "1" });
  await host.getByText("Ready?").waitFor();
  const session = new URL(host.url()).searchParams.get("session") as string;
  const audience = await run("quiz", files, { session });
  await host.locator("#watchers").getByText("2").waitFor();
  expect(await audience.locator("#next").isVisible()).toBe(false);
  await host.getByRole("button", { name: "Start" }).click();
  await audience.getByText("Which planet is the largest?").waitFor();
  for (const next of ["Who wrote Faust?", "How many bits has a byte?", "The end"]) {
    await host.getByRole("button", { name: "Next question" }).click();
    await audience.getByText(next).waitFor();
  }
});
