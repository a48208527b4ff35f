// The processor time of a page with 100 clocks, beside an empty page. Chromium counts the time of all its processes.

const CLOCKS = 100;
const SECONDS = 10;

/** Return the figures of 100 clocks of which one runs, and of 100 clocks that all run, in percent of a core. */
export async function measureClocks(pages, serverUrl) {
  const empty = await measure(pages, "", null);
  const figures = [];
  for (const [name, mode, limit] of [["one running", "per_participant", 5], ["all running", "individual", null]]) {
    const id = await startSession(serverUrl, mode);
    const clocks = ids.map((each) => `<sync-clock tenths="always" session="${id}" participant="${each}"></sync-clock>`);
    const html = `<main server="${serverUrl}">${clocks.join("")}</main><script type="module" src="/elements.js"></script>`;
    const shown = await measure(pages, html, /\.\d$/);
    figures.push({ name: `100 clocks with tenths, ${name}: page's own thread`, percent: shown.page - empty.page, limit });
    figures.push({ name: `100 clocks with tenths, ${name}: all of Chromium`, percent: shown.all - empty.all, limit: null });
  }
  return figures;
}

const ids = Array.from({ length: CLOCKS }, (_, at) => `0198c0de-0000-7000-8000-${String(at).padStart(12, "0")}`);

async function startSession(serverUrl, mode) {
  const post = async (path, body) => {
    const answer = await fetch(`${serverUrl}/v1/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).data;
  };
  const participants = ids.map((participant_id) => ({ participant_id, total_time_ms: 3_600_000 }));
  const { session_id } = await post("sessions", { sync_mode: mode, participants });
  await post(`sessions/${session_id}/start`, {});
  return session_id;
}

/** Return the processor time of the page's main thread and of all processes of Chromium, in percent of a core. */
async function measure(pages, html, text) {
  const { browser, page } = await pages.open(html);
  try {
    if (text) await page.waitForFunction(showsTime, text.source);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    const system = await browser.newBrowserCDPSession();
    const read = async () => {
      const { metrics } = await devtools.send("Performance.getMetrics");
      const { processInfo } = await system.send("SystemInfo.getProcessInfo");
      return {
        page: metrics.find(({ name }) => name === "TaskDuration").value,
        all: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0),
      };
    };
    await new Promise((resolve) => setTimeout(resolve, 2_000)); // The work of loading is over then.
    const before = await read();
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    const after = await read();
    const percent = (name) => ((after[name] - before[name]) / SECONDS) * 100;
    return { page: percent("page"), all: percent("all") };
  } finally {
    await browser.close();
  }
}

const showsTime = (source) =>
  [...document.querySelectorAll("sync-clock")].every((each) =>
    new RegExp(source).test(each.shadowRoot?.querySelector("[part=time]")?.textContent ?? ""),
  );
