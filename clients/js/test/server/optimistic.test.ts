import { expect, inject, test } from "vitest";
import { loadPrediction } from "../../src/clock/predict.js";
import { ADA, BOB, connectTo, createSession, eventually, onEachTransport, proxyTo } from "../helpers.js";

/** Start a session and watch it through a slow network. */
async function slowWatch(fields = {}) {
  await loadPrediction();
  const { session_id } = await createSession(fields);
  const client = connectTo((await proxyTo(inject("serverUrl"), 150)).url);
  const watch = client.watch(session_id);
  await watch.ready();
  await watch.reach((await watch.command("start")).version);
  await eventually((listener) => watch.subscribe(listener), () => client.now());
  return { client, watch };
}

onEachTransport(() => {
  test("a press stops the clock at once, and the answer does not start it again", async () => {
    const { client, watch } = await slowWatch();
    const pressedMs = performance.now();
    const press = watch.command("switch", { current_participant_id: ADA });
    expect(watch.state?.active_participant_id).toBe(ADA);
    expect(watch.shown?.active_participant_id).toBe(BOB);
    const rates = [watch.reading(ADA)?.rateMs];
    const stopped = watch.reading(ADA)?.time_remaining_ms ?? NaN;
    watch.subscribe(() => rates.push(watch.reading(ADA)?.rateMs));
    await watch.reach((await press).version);
    const tookMs = performance.now() - pressedMs;
    expect(watch.shown).toBe(watch.state);
    expect(watch.shown?.active_participant_id).toBe(BOB);
    expect(new Set(rates)).toEqual(new Set([0]));
    // The server decided between the press and the answer.
    const difference = Math.abs((watch.reading(ADA)?.time_remaining_ms ?? NaN) - stopped);
    expect(difference).toBeLessThanOrEqual(tookMs + client.errorMs);
  });

  test("a refused press is put right", async () => {
    const { client, watch } = await slowWatch();
    const other = connectTo(inject("serverUrl"));
    const press = watch.command("switch").catch((error: unknown) => error);
    expect(watch.shown?.active_participant_id).toBe(BOB);
    const { version } = await other.command(watch.sessionId, "pause");
    expect(await press).toMatchObject({ code: "INVALID_STATE_TRANSITION" });
    await watch.reach(version);
    expect(watch.shown?.active_participant_id).toBe(ADA);
    expect(watch.shown).toBe(watch.state);
    expect(client.state.status).toBe("connected");
  });

  test("presses that follow each other without an answer show their common result", async () => {
    const { watch } = await slowWatch();
    const presses = [watch.command("switch"), watch.command("switch"), watch.command("pause")];
    expect([watch.shown?.turn_number, watch.shown?.status]).toEqual([3, "paused"]);
    const answers = await Promise.all(presses);
    const state = await watch.reach(answers.at(-1)?.version ?? 0);
    expect([state.turn_number, state.status]).toEqual([3, "paused"]);
    expect(watch.shown).toBe(watch.state);
  });

  test("a command that is not optimistic shows with the answer", async () => {
    const { watch } = await slowWatch();
    const press = watch.command("pause", {}, { optimistic: false });
    expect(watch.shown?.status).toBe("running");
    expect((await watch.reach((await press).version)).status).toBe("paused");
  });
});
