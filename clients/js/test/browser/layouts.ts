// Layouts of pages: where each element is, and the colours of texts, compared with a file. SYNCKAIROS_WRITE_LAYOUTS=1 writes
// the file. Positions are compared in place of pictures, because the pixels of a text differ between releases of Chromium.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const FILE = fileURLToPath(new URL("../snapshots/layouts.json", import.meta.url));
const TOLERANCE_PX = 3;

/** The left, top, width and height of each visible element in pixels, by the name of the element. */
export type Layout = Record<string, number[]>;

/** Layouts and colours by the name of a state of a page, such as `view, no connection, 320`. */
export type Layouts = Record<string, Layout | string[]>;

/** Return the layout of a page at a width of the screen. */
export async function readLayout(page: Page, width: number): Promise<Layout> {
  await page.setViewportSize({ width, height: 900 });
  return page.evaluate(async () => {
    await document.fonts.ready;
    const found: Record<string, number[]> = {};
    const visit = (root: ParentNode) => {
      for (const each of root.querySelectorAll<HTMLElement>("*")) {
        if (each.shadowRoot) visit(each.shadowRoot);
        const isShown = each.matches("button, input, select, a, h1, h2, p, li, label, legend, summary, section, [part]");
        const { left, top, width, height } = each.getBoundingClientRect();
        if (!isShown || !each.checkVisibility() || width === 0 || height === 0) continue;
        const { id, dataset } = each;
        const name = [each.localName, id && `#${id}`, each.part.value && `::${each.part.value}`, dataset.action && `[${dataset.action.split("-")[0]}]`].filter(Boolean).join("");
        let key = name;
        for (let count = 2; key in found; count += 1) key = `${name} ${count}`;
        found[key] = [left + scrollX, top + scrollY, width, height].map(Math.round);
      }
    };
    visit(document);
    return found;
  });
}

/** Return the colours of the texts of a page on their grounds, each pair once. */
export async function readColors(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const pairs = new Set<string>();
    for (const each of document.querySelectorAll<HTMLElement>("body, h1, p, button, input, select, li, label, a")) {
      if (!each.checkVisibility()) continue;
      const { color, backgroundColor, borderTopColor, borderTopWidth } = getComputedStyle(each);
      pairs.add(`${color} on ${backgroundColor}${borderTopWidth === "0px" ? "" : `, border ${borderTopColor}`}`);
    }
    return [...pairs].sort();
  });
}

/** Compare layouts and colours with the file, or write the file. */
export function expectLayouts(layouts: Layouts): void {
  if (process.env.SYNCKAIROS_WRITE_LAYOUTS) writeFileSync(FILE, format(layouts));
  const wanted = JSON.parse(readFileSync(FILE, "utf8")) as Layouts;
  expect(Object.keys(layouts)).toEqual(Object.keys(wanted));
  const moved = Object.entries(layouts).flatMap(([state, now]) => differences(now, wanted[state] as Layout | string[]).map((each) => `${state}: ${each}`));
  expect(moved, "SYNCKAIROS_WRITE_LAYOUTS=1 npx vitest run test/browser/layouts.test.ts writes the file anew").toEqual([]);
}

function differences(now: Layout | string[], before: Layout | string[]): string[] {
  if (Array.isArray(now) || Array.isArray(before)) return JSON.stringify(now) === JSON.stringify(before) ? [] : [`${String(now)} were ${String(before)}`];
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return names.flatMap((name) => {
    const [old, own] = [before[name], now[name]];
    if (!old || !own) return [`${name} is ${own ? "new" : "not there"}`];
    return own.some((each, at) => Math.abs(each - (old[at] ?? NaN)) > TOLERANCE_PX) ? [`${name} is at ${own.join()}, was at ${old.join()}`] : [];
  });
}

/** Return the text of the file: one line for each element, so that a change is read in a comparison of releases. */
function format(layouts: Layouts): string {
  const lines = (each: Layout | string[]) =>
    Array.isArray(each) ? `[${each.map((color) => `\n    ${JSON.stringify(color)}`).join()}\n  ]` : `{${Object.entries(each).map(([name, box]) => `\n    ${JSON.stringify(name)}: [${box.join(", ")}]`).join()}\n  }`;
  return `{${Object.entries(layouts).map(([state, each]) => `\n  ${JSON.stringify(state)}: ${lines(each)}`).join()}\n}\n`;
}
