// Values of the Prometheus text of /metrics. Pure.

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;

/**
 * Return the samples of a text by metric: a map from the name to a list of `{labels, value}`. `labels` is the text between
 * the braces, such as `status="failed",type="archive"`.
 */
export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    // A metric with labels has no sample before its first event.
    const declared = line.startsWith("# TYPE ") ? line.split(" ")[2] : undefined;
    if (declared !== undefined) samples.set(declared, []);
    const [, name, labels = "", value] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    samples.set(name, [...(samples.get(name) ?? []), { labels, value: Number(value) }]);
  }
  return samples;
}

/** Return the sum of the samples of a metric whose labels contain a text, null if the metric is not there. */
export function sumOf(samples, name, labels = "") {
  const found = samples.get(name)?.filter((each) => each.labels.includes(labels));
  return found ? found.reduce((sum, each) => sum + each.value, 0) : null;
}

/** Return the growth of a counter in each second between two readings `{atMs, samples}`, null if it cannot be calculated. */
export function rateOf(before, after, name, labels = "") {
  const [from, to] = [sumOf(before.samples, name, labels), sumOf(after.samples, name, labels)];
  const seconds = (after.atMs - before.atMs) / 1000;
  // A process that was started again counts from zero.
  return from === null || to === null || to < from || seconds <= 0 ? null : (to - from) / seconds;
}

/** Return the mean of a histogram between two readings, in ms for a metric in seconds. Null without observations. */
export function meanMsOf(before, after, name) {
  const sum = rateOf(before, after, `${name}_sum`);
  const count = rateOf(before, after, `${name}_count`);
  return sum === null || !count ? null : (1000 * sum) / count;
}
