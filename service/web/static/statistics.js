/** What has happened between two looks at the service's statistics. */

/**
 * @typedef {Object} Reading null where there is nothing to take the mean of
 * @property {number} rate requests a second
 * @property {number | null} latency milliseconds
 * @property {number | null} batch rows of a run
 * @property {number | null} queue milliseconds
 */

/** Everything that is counted, of one model or of all. */
export function totals({ model_stats: all }, model) {
  const sum = { requests: 0, latency: 0, rows: 0, runs: 0, queued: 0, queue: 0 };
  for (const stats of all.filter(({ name }) => !model || name === model)) {
    const { success, fail, queue } = stats.inference_stats;
    sum.requests += success.count + fail.count;
    sum.latency += success.ns + fail.ns;
    sum.queued += queue.count;
    sum.queue += queue.ns;
    sum.rows += stats.inference_count;
    sum.runs += stats.execution_count;
  }
  return sum;
}

/** @returns {Reading | null} null where it was counted anew in between: another service answers */
export function reading(before, after, seconds) {
  const gone = (what) => after[what] - before[what];
  const mean = (what, count) => (gone(count) > 0 ? gone(what) / gone(count) : null);
  if (gone("requests") < 0) return null;
  const inMilliseconds = (nanoseconds) => (nanoseconds === null ? null : nanoseconds / 1e6);
  return {
    rate: gone("requests") / seconds,
    latency: inMilliseconds(mean("latency", "requests")),
    batch: mean("rows", "runs"),
    queue: inMilliseconds(mean("queue", "queued")),
  };
}
