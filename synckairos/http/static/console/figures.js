// Live figures of the instance that answers, with small charts of the last readings of /metrics.

import { button, element } from "../view/dom.js";
import { meanMsOf, parseMetrics, rateOf, sumOf } from "./metrics_text.js";
import { requestText } from "./requests.js";

const READ_EACH_MS = 5_000;
const MAX_READINGS = 60;
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 100;
const HEIGHT = 30;

const gauge = (name, labels) => (_, after) => sumOf(after.samples, name, labels);
const rate = (name, labels) => (before, after) => before && rateOf(before, after, name, labels);
const meanMs = (name) => (before, after) => before && meanMsOf(before, after, name);

/** Title, unit and calculation of each figure. A value is null while it cannot be calculated; its text is then "–". */
const FIGURES = [
  ["Sessions that are not final", "", gauge("synckairos_active_sessions")],
  ["Instances", "", gauge("synckairos_instances")],
  ["Connections of this instance", "", gauge("synckairos_websocket_connections")],
  ["Requests of this instance", "a second", rate("synckairos_http_requests_total")],
  ["Commands of this instance", "a second", rate("synckairos_commands_total")],
  ["Mean time of a command", "ms", meanMs("synckairos_command_duration_seconds")],
  ["Mean lateness of the timekeeper", "ms", meanMs("synckairos_timekeeper_lateness_seconds")],
  ["Entries in the outbox", "", gauge("synckairos_audit_outbox_entries")],
  ["Age of the outbox", "s", gauge("synckairos_audit_outbox_age_seconds")],
  ["Failed audit entries", "", gauge("synckairos_audit_failed_entries")],
  ["Queued jobs", "", gauge("synckairos_jobs", 'status="queued"')],
  ["Failed jobs", "", gauge("synckairos_jobs", 'status="failed"')],
  ["Webhooks that are not sent yet", "", gauge("synckairos_webhook_pending_deliveries")],
  ["Refused for their rate", "a second", rate("synckairos_rate_limited_total")],
];

/** Show the figures in `root`, and read them again while they are shown. Return a function that stops this. */
export function showFigures(root, report) {
  const list = element("ul", { id: "figures" });
  const figures = FIGURES.map(([title, unit, calculate]) => {
    const value = element("p", { className: "value" });
    const chart = document.createElementNS(SVG, "svg");
    const line = document.createElementNS(SVG, "polyline");
    chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    chart.setAttribute("preserveAspectRatio", "none");
    chart.setAttribute("role", "img");
    chart.append(line);
    list.append(element("li", {}, element("h3", { textContent: title }), value, chart));
    return { title, unit, calculate, value, chart, line, values: [] };
  });
  const note = element("p", { className: "soft" });
  let before = null;
  let timer = null;
  let isStopped = false;

  const bar = element("p", { className: "bar" }, button("Read now", read));
  root.append(bar, note, list);
  root.dataset.state = "loading";
  read();
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };

  async function read() {
    clearTimeout(timer);
    try {
      const after = { samples: parseMetrics(await requestText("metrics")), atMs: performance.now() };
      if (isStopped) return;
      for (const each of figures) show(each, each.calculate(before, after));
      before = after;
      root.dataset.state = "live";
      note.textContent = `Read at ${new Date().toLocaleTimeString()}, again in ${READ_EACH_MS / 1000} s.`;
      report(null);
    } catch (error) {
      if (isStopped) return;
      root.dataset.state = error.status === 403 || error.status === 401 ? "forbidden" : "failed";
      report(error);
      if (root.dataset.state === "forbidden") return; // The next reading would be refused too.
    }
    clearTimeout(timer);
    timer = setTimeout(read, READ_EACH_MS);
  }
}

function show({ title, unit, value, chart, line, values }, newest) {
  const text = newest === null ? "–" : `${newest.toLocaleString(undefined, { maximumFractionDigits: 1 })}${unit && ` ${unit}`}`;
  value.textContent = text;
  if (newest !== null) values.push(newest);
  if (values.length > MAX_READINGS) values.shift();
  const greatest = Math.max(...values, 0) || 1;
  const x = (at) => (WIDTH * at) / Math.max(1, values.length - 1);
  const y = (each) => HEIGHT - 1 - ((HEIGHT - 2) * each) / greatest;
  // One reading is a line too.
  const shown = values.length === 1 ? [values[0], values[0]] : values;
  line.setAttribute("points", shown.map((each, at) => `${x(at).toFixed(1)},${y(each).toFixed(1)}`).join(" "));
  chart.setAttribute("aria-label", `${title}: ${text}, at most ${Math.max(...values, 0).toLocaleString()} in ${values.length} readings`);
}
