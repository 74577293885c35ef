"use strict";
// where the points of a curve stand if its axis is what is spent, in plain backfills, as `compat.cost` computes it
page.spent = (() => {
  // the quantity of each axis but the first, and a gallery's size where it is not the benchmark's
  const AXES = { "": null, seconds: ["seconds"], million: ["seconds", 1e6], bytes: ["bytes"] };
  const END = 2;  // of the axis

  const known = (row, axis) => !axis || AXES[axis][0] in row.cost;

  function reached(row, axis) {
    const [quantity, items = row.of.gallery] = AXES[axis], { item, at, fixed, each } = row.cost[quantity];
    return row.of.progress.map((ratio) => at.reduce((sum, step, n) => sum + (step <= ratio ? fixed[n] / items + each[n] : 0), ratio * item));
  }

  // position, completion ratio and values of each point: of the mean, and of the lowest and highest seed
  function points(row, metric, axis) {
    const { progress, levels } = row.of, curve = row.curves[metric];
    if (!axis) return progress.map((at, place) => ({ at, progress: at, values: curve.map((of) => of[place]) }));
    const x = reached(row, axis), { item } = row.cost[AXES[axis][0]];
    const point = (at, place) => ({ at, progress: progress[place], values: curve.map((of) => of[place]) });
    const before = { progress: 0, values: curve.map(() => 1e4 * (levels.old[metric] ?? 0)) };
    const line = [{ ...before, at: 0 }, { ...before, at: x[0] }, point(x[0], 0)];
    for (let k = 1; k < x.length; k += 1)
      line.push(point(Math.max(x[k - 1], x[k] - item * (progress[k] - progress[k - 1])), k - 1), point(x[k], k));
    const end = line.findIndex((one) => one.at >= END);
    if (end < 0) return [...line, { ...line.at(-1), at: END }];
    const [one, two] = line.slice(end - 1, end + 1), part = (END - one.at) / (two.at - one.at);
    return [...line.slice(0, end), { ...one, at: END, values: one.values.map((value, n) => value + part * (two.values[n] - value)) }];
  }

  // set the title of the axis in a specification
  function name(spec, title) {
    if (spec === null || typeof spec !== "object") return;
    if (spec.field === "at" && spec.title) spec.title = title;
    Object.values(spec).forEach((part) => name(part, title));
  }

  return { AXES, known, reached, points, name };
})();
