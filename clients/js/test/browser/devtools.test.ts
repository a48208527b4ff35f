import { expect, inject, test } from "vitest";
import type { Watch } from "../../src/index.js";
import { createSession } from "../helpers.js";
import { useChromium } from "./chromium.js";

const open = useChromium();

test("the panel shows the connection and the messages, and hides tokens", async () => {
  const { session_id } = await createSession();
  const page = await open("devtools", { server: inject("serverUrl"), session: session_id });
  const panel = page.getByRole("region", { name: "SyncKairos developer panel" });
  await panel.getByText("← STATE_SYNC v1").waitFor();
  await panel.getByText(/^connected · .* ± \d+\.\d ms$/).waitFor();
  await page.evaluate(() => (window as unknown as { watch: Watch }).watch.command("start"));
  await panel.getByText("→ COMMAND start").waitFor();
  await panel.getByText("→ AUTH").click();
  await panel.getByText('"token": "…"').waitFor();
  expect(await panel.textContent()).not.toContain("a token that stays secret");
  await panel.getByRole("button", { name: "Reconnect" }).click();
  await panel.getByText(/last end 1006 the client reconnects/).waitFor();
  await panel.getByText("← STATE_DELTA v2").first().waitFor();
  await panel.getByRole("button", { name: "Pause" }).click();
  await panel.getByRole("button", { name: "Clear" }).click();
  expect(await panel.getByRole("listitem").count()).toBe(0);
  await panel.getByRole("button", { name: "Hide" }).click();
  await panel.getByRole("button", { name: "Show" }).waitFor();
  await page.evaluate(() => (window as unknown as { remove: () => void }).remove());
  expect(await panel.count()).toBe(0);
});
