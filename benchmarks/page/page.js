"use strict";
// the leaderboard, its filters, the charts of what is chosen, and where each figure comes from
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data"), specs = read("specs");
  const { make } = page;
  const find = (selector, within = document) => within.querySelector(selector);
  const UNIT = 100, FIRST = 150, DRAWN = 6;
  const AREA = 0, GAIN = 1, SHORT = ["AUC mAP", "relative gain", "gain of nDCG@10", "gain of R@1", "mAP below old", "nDCG@10 below old", "R@1 below old"];
  const COST = { passes: "encoder passes", bytes: "bytes per item", seconds: "training (s)" };
  const PLAIN = { order: "random", merge: "raw" };

  data.rows.forEach((row) => {
    row.of = data.benchmarks[row.benchmark];
    row.id = `${row.of.name}:${row.name}`;
    row.dataSet = row.of.dataSet;
    row.setting = row.of.setting;
    row.family = row.of.family;
    row.text = [row.name, row.of.name, row.dataSet, row.classPath, ...Object.values(row.needs).flat()].join(" ").toLowerCase();
  });
  const byId = new Map(data.rows.map((row) => [row.id, row]));

  const values = (key, rows = data.rows) => [...new Set(rows.map((row) => String(key(row))))];
  const counted = (key) => (a, b) => count.get(key)[b] - count.get(key)[a] || a.localeCompare(b);
  const count = new Map();
  const KEYS = {
    dataSet: (row) => row.dataSet, setting: (row) => row.setting, benchmark: (row) => row.of.name,
    order: (row) => row.order, merge: (row) => row.merge, passes: (row) => row.passes,
  };
  for (const [key, of] of Object.entries(KEYS)) {
    const found = {};
    data.rows.forEach((row) => { found[of(row)] = (found[of(row)] || 0) + 1; });
    count.set(key, found);
  }

  // ---- the state, which is the page's address
  const options = Object.fromEntries(Object.entries(KEYS).map(([key, of]) => [key, values(of).sort(key === "benchmark" ? undefined : counted(key))]));
  const plain = (key) => (options[key].includes(PLAIN[key]) ? PLAIN[key] : "");
  const START = {
    q: "", dataSet: "", setting: "", benchmark: data.start, order: plain("order"), merge: plain("merge"), passes: "",
    without: "", sort: "relative gain", down: "1", wide: "", metric: Object.keys(data.metrics)[0], by: "", x: "", cost: "seconds", pick: "", result: "",
  };
  let state = { ...START };
  let limit = FIRST, later, soon;

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const known = [...given.keys()].some((key) => key in START);
    if (known) state = { ...START, ...Object.fromEntries([...given].filter(([key]) => key in START)) };
    for (const key of Object.keys(KEYS)) if (state[key] && !options[key].includes(state[key])) state[key] = "";
    if (!data.metrics[state.metric]) state.metric = START.metric;
    if (!Object.hasOwn(page.spent.AXES, state.x)) state.x = START.x;
    if (!(state.cost in COST)) state.cost = START.cost;
    if (!["", "order", "merge", "dataSet"].includes(state.by)) state.by = "";
  }

  function toAddress() {
    const changed = Object.entries(state).filter(([key, value]) => value !== START[key]);
    const hash = `#${new URLSearchParams(changed)}`;
    if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
  }

  const list = (text) => (text ? text.split("|") : []);
  const picked = () => list(state.pick).map((id) => byId.get(id)).filter(Boolean);

  const change = (part) => { state = { ...state, ...part }; toAddress(); show(); };

  // ---- filter and sort
  function shown() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean), without = list(state.without);
    const rows = data.rows.filter((row) =>
      Object.entries(KEYS).every(([key, of]) => !state[key] || String(of(row)) === state[key])
      && !row.budget.some((kind) => without.includes(kind)) && words.every((word) => row.text.includes(word)));
    const column = columns().find((one) => one.name === state.sort) || columns()[2];
    const sign = state.down ? -1 : 1;
    return rows.sort((a, b) => {
      const [x, y] = [column.value(a), column.value(b)];
      if (x == null || y == null) return (x == null) - (y == null);  // what is undefined comes last
      return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
    });
  }

  function columns() {
    const several = !state.benchmark;
    const figures = data.columns.map((one, place) => ({
      name: one.name, unit: " (%)", number: true, higher: one.higher, value: (row) => row.values[place], text: (row) => row.cells[place],
      mark: (row) => (place === AREA ? row.mark : ""),
    }));
    return [
      { name: "method", words: true, value: (row) => row.name },
      ...(several ? [{ name: "benchmark", words: true, value: (row) => row.of.name }] : []),
      ...figures.filter((one) => state.wide || SHORT.includes(one.name)),
      { name: COST.passes, value: (row) => row.passes, higher: false },
      ...(state.wide ? [
        { name: COST.bytes, value: (row) => row.bytes, higher: false, text: (row) => (row.bytes ? row.bytes.toLocaleString("en") : "-") },
        { name: "backward compatible", value: (row) => row.compatible },
        { name: "seeds", value: (row) => row.seeds },
        { name: "tuning", words: true, value: (row) => row.tuning },
      ] : []),
      { name: COST.seconds, value: (row) => row.seconds, higher: false, text: (row) => Math.round(row.seconds).toLocaleString("en") },
      { name: "uses", words: true, value: (row) => row.budget.length, text: (row) => (row.budget.length ? row.budget.map((kind) => make("span", { class: "tag" }, kind)) : "nothing") },
      { name: "paper", words: true, value: (row) => papers(row).map((link) => link.textContent).join(" "), text: (row) => papers(row).flatMap((link) => [link.cloneNode(true), " "]) },
    ];
  }

  const article = (row) => document.getElementById(`method-${row.classPath}`);
  const papers = (row) => [...(article(row)?.querySelectorAll("a") || [])];

  // ---- the table
  function heading(column) {
    const sorted = column.name === state.sort;
    const down = sorted ? !state.down : column.number ? column.higher : false;
    const sort = () => { change({ sort: column.name, down: down ? "1" : "" }); find(`[data-column="${column.name}"]`).focus(); };
    const attributes = { scope: "col", class: column.words ? "words" : null, "aria-sort": sorted ? (state.down ? "descending" : "ascending") : null };
    return make("th", attributes, make("button", { type: "button", "data-column": column.name, onclick: sort }, column.name + (column.unit || "")));
  }

  function cell(row, column, most) {
    const text = column.text ? column.text(row) : String(column.value(row));
    if (Array.isArray(text)) return make("td", { class: "words" }, text);
    const mark = column.mark ? column.mark(row) : "";
    const [mean, spread] = text.split(" ± ");
    const inside = column.number
      ? make("a", { href: `#result=${encodeURIComponent(row.id)}`, tabindex: -1, class: mark }, mean, spread ? make("span", { class: "spread" }, ` ± ${spread}`) : null, mark === "equal" ? " ≈" : null)
      : mean;
    const found = make("td", { class: `${column.words ? "words " : ""}${column.name === state.sort ? "sorted" : ""}` }, inside);
    if (column.name === state.sort && column.number && most > 0) found.style.setProperty("--part", `${Math.max(0, Math.min(100, (100 * column.value(row)) / most))}%`);
    return found;
  }

  function line(row, all, most, colors) {
    const color = colors.get(row.id);
    const box = make("input", { type: "checkbox", "aria-label": `Draw ${row.name} in ${row.of.name}`, onchange: (event) => pick(row, event.target.checked) });
    box.checked = list(state.pick).includes(row.id);
    const swatch = color ? make("span", { class: "swatch" }) : null;
    if (swatch) swatch.style.background = color;
    const [, ...others] = all;
    return make("tr", { class: box.checked ? "picked" : null },
      make("td", {}, box),
      make("th", { scope: "row" }, swatch, make("a", { href: `#result=${encodeURIComponent(row.id)}` }, row.name)),
      others.map((column) => cell(row, column, most)));
  }

  function pick(row, on) {
    const others = list(state.pick).filter((id) => id !== row.id);
    const place = document.activeElement;
    const label = place && place.getAttribute("aria-label");
    change({ pick: [...others, ...(on ? [row.id] : [])].join("|") });
    if (label) find(`[aria-label="${CSS.escape(label)}"]`)?.focus();
  }

  function board(rows, chosen) {
    const all = columns(), column = all.find((one) => one.name === state.sort);
    const most = column?.number ? Math.max(...rows.map(column.value)) : 0;
    const palette = page.palette();
    const colors = new Map(chosen.slice(0, palette.length).map((row, place) => [row.id, palette[place]]));
    find("#board thead").replaceChildren(make("tr", {}, make("th", { scope: "col" }, "draw"), all.map(heading)));
    const body = find("#board tbody"), end = Math.min(rows.length, limit);
    function fill(start) {  // more rows than anybody sees at once come a little later
      body.append(...rows.slice(start, Math.min(start + FIRST, end)).map((row) => line(row, all, most, colors)));
      if (start + FIRST < end) later = setTimeout(fill, 0, start + FIRST);
    }
    clearTimeout(later);
    body.replaceChildren();
    fill(0);
    find("#count").textContent = `${rows.length} of ${data.rows.length} rows`;
    find("#more").hidden = rows.length <= limit;
    find("#more").textContent = `Show ${rows.length - limit} more rows`;
    const where = values((row) => row.of.name, rows);
    find("#systems").textContent = where.length === 1 ? [`${where[0]}: ${rows[0].setting}.`, rows[0].of.systems, ...rows[0].of.failures].join(" ") : "";
  }

  // ---- charts
  const percent = (value) => (value / UNIT).toFixed(2);

  function panels(chosen) {
    if (!state.by) return chosen.map((row) => [row.of.name, row.name, row]);
    const same = { order: ["benchmark", "method", "merge"], merge: ["benchmark", "method", "order"], dataSet: ["family", "method", "order", "merge"] }[state.by];
    const key = (row) => JSON.stringify(same.map((name) => row[name]));
    const rows = [...new Set(chosen.map(key))].flatMap((wanted) => data.rows.filter((row) => key(row) === wanted));
    const several = values((row) => row.of.name, chosen).length > 1 && state.by !== "dataSet";
    const rest = (row) => [row.method, ...["order", "merge"].filter((axis) => axis !== state.by && row[axis] !== PLAIN[axis]).map((axis) => row[axis]), ...(several ? [row.of.name] : [])].join(" + ");
    return rows.map((row) => [state.by === "dataSet" ? row.of.name : row[state.by], rest(row), row]);
  }

  function curveRows(parts) {
    const rows = [], order = values(([, series]) => series, parts), most = page.palette().length;
    for (const [panel, series, row] of parts) {
      for (const { at, progress, values: [mean, low = mean, high = mean] } of page.spent.points(row, state.metric, state.x)) rows.push({
        kind: "line", panel, series, at, progress, dash: Math.floor(order.indexOf(series) / most) % 3, mean: mean / UNIT, low: low / UNIT, high: high / UNIT,
        shown: percent(mean), spread: row.curves[state.metric].length < 3 ? "one curve" : `${percent(low)} to ${percent(high)}`,
      });
    }
    for (const [panel, row] of new Map(parts.map(([name, , one]) => [name, one])))
      for (const system of ["old", "new"]) {
        const level = row.of.levels[system][state.metric];
        if (level != null) rows.push({ kind: "level", panel, series: `${system} system`, mean: 100 * level, shown: (100 * level).toFixed(2) });
      }
    return rows;
  }

  // where names stand that would be at `wanted`, ascending: apart by at least a line, not above the top
  function apart(wanted, numbers, height) {
    const [bottom, top] = [Math.min(...numbers), Math.max(...numbers)], step = ((top - bottom || 1) * 17) / height;
    let floor = -Infinity, roof = top;
    const places = wanted.map((value) => (floor = Math.max(value, floor + step)));
    for (let n = places.length - 1; n >= 0; n -= 1) { places[n] = Math.min(places[n], roof); roof = places[n] - step; }
    return places;
  }

  const short = (name) => (name.length > 26 ? `${name.slice(0, 25)}…` : name);

  function ends(rows, height) {
    const last = Math.max(...rows.filter((row) => row.kind === "line").map((row) => row.at));
    const names = rows.filter((row) => row.kind === "line" && row.at === last).sort((a, b) => a.mean - b.mean);
    const places = apart(names.map((row) => row.mean), rows.flatMap((row) => [row.mean, row.low ?? row.mean, row.high ?? row.mean]), height);
    return names.map((row, n) => ({ kind: "end", series: row.series, label: short(row.series), at: last, place: places[n] }));
  }

  // the colours of series, in their sequence: the same in the table, in curves and in points
  function colored(spec, series) {
    if (spec === null || typeof spec !== "object") return;
    if (spec.field === "series" && "legend" in spec) spec.scale = { domain: series };
    Object.values(spec).forEach((part) => colored(part, series));
  }

  function draw(figure, name, rows, width) {
    const spec = structuredClone(specs[name]);
    (spec.spec || spec).width = width;
    colored(spec, values((row) => row.series, rows.filter((row) => row.kind === "line" || row.picked)));
    page.spent.name(spec, find(`[name=x] [value="${state.x}"]`).textContent);
    spec.datasets = { rows };
    spec.description = find("figcaption p", figure).textContent;
    return page.draw(find(".drawing", figure), spec);
  }

  function table(figure, names, rows) {
    find("thead", figure).replaceChildren(make("tr", {}, names.map((name) => make("th", { scope: "col" }, name))));
    find("tbody", figure).replaceChildren(...rows.map(([first, ...others]) => make("tr", {}, make("th", { scope: "row" }, first), others.map((text) => make("td", {}, text)))));
  }

  function curves(chosen) {
    const figure = find("#curve"), wide = find(".drawing", figure).clientWidth, metric = data.metrics[state.metric];
    const having = panels(chosen).filter(([, , row]) => row.curves[state.metric]), parts = having.filter(([, , row]) => page.spent.known(row, state.x)), rows = curveRows(parts), names = values(([panel]) => panel, parts).sort((a, b) => (b === PLAIN[state.by]) - (a === PLAIN[state.by]) || a.localeCompare(b));
    const better = `${metric.label} in percent, ${metric.higher ? "higher" : "lower"} is better`;
    find("#curve-description").textContent = !parts.length ? "Nothing to draw." : `${better}; ${state.pick ? "the rows ticked above" : `the first ${chosen.length} rows above: tick others to draw them`}. Lines are means, bands go from the lowest to the highest seed.${parts.length < having.length ? ` The cost of ${having.length - parts.length} was not measured.` : ""}`;
    table(figure, ["", "method", ...(parts[0] ? parts[0][2].of.progress.map((value) => `${Math.round(100 * value)} %`) : [])],
      parts.map(([panel, series, row]) => [panel, series, ...row.curves[state.metric][0].map((value, place) => percent(value) + (state.x ? ` at ${Math.round(100 * page.spent.reached(row, state.x)[place])} %` : ""))]));
    if (!parts.length) return find(".drawing", figure).replaceChildren();
    if (names.length === 1 && !state.by)
      return wide > 640 ? draw(figure, "single", [...rows, ...ends(rows, specs.single.height)], wide) : draw(figure, "legend", rows, wide);
    const columns = Math.max(1, Math.min(names.length === 4 ? 2 : 3, names.length, Math.floor(wide / 300)));
    specs.multiples.columns = columns;
    specs.multiples.facet.sort = names;
    const alike = values(([, , row]) => row.dataSet, parts).length === 1;
    specs.multiples.resolve = { scale: { y: alike ? "shared" : "independent" } };
    return draw(figure, "multiples", rows, Math.floor((wide - (alike ? 40 : 0)) / columns) - (alike ? 26 : 60));
  }

  function cost(rows, chosen) {
    const figure = find("#against"), wide = find(".drawing", figure).clientWidth, key = state.cost;
    const known = rows.filter((row) => row.values[GAIN] != null && (key === "passes" || row[key] > 0));
    const several = values((row) => row.of.name, known).length > 1, marked = new Set(chosen.map((row) => row.id));
    const series = (row) => (several ? `${row.name} · ${row.of.name}` : row.name);
    find("#cost-description").textContent = `Relative gain in percent of ${known.length} rows of the leaderboard against ${COST[key]}${known.length < rows.length ? `; of ${rows.length - known.length} it is not known` : ""}. Circles need one encoder pass for each query, squares two; those in colour are drawn above.`;
    table(figure, ["method", "relative gain (%)", ...Object.values(COST)], known.map((row) => [series(row), row.cells[GAIN], ...Object.keys(COST).map((name) => Math.round(row[name]).toLocaleString("en"))]));
    const order = [...chosen.filter((row) => known.includes(row)), ...known.filter((row) => !marked.has(row.id))];
    const logs = order.map((row) => Math.log(row[key])), [least, most] = [Math.min(...logs), Math.max(...logs)];
    const points = order.map((row, n) => ({
      series: series(row), gain: row.values[GAIN] * 100, passes: row.passes, bytes: row.bytes, seconds: row.seconds, picked: marked.has(row.id), label: short(series(row)),
      place: key === "passes" ? row.passes + 0.03 * (((n * 7) % 13) - 6) : row[key], flip: key !== "passes" && logs[n] > least + 0.6 * (most - least),
    }));
    const named = points.filter((point) => point.picked).sort((a, b) => a.gain - b.gain);
    apart(named.map((point) => point.gain), points.map((point) => point.gain), specs[key].height).forEach((place, n) => { named[n].label_place = place; });
    return known.length ? draw(figure, key, points, wide) : find(".drawing", figure).replaceChildren();
  }

  // ---- one result: what it is and how it was made
  const facts = (pairs) => make("dl", { class: "facts" }, pairs.filter(([, value]) => value && value.length).map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

  function detail(row) {
    const close = make("button", { type: "button", onclick: () => find("#detail").close() }, "Close");
    const records = [...new Set(row.results.flatMap((one) => one[5]))].map((name) => [name, row.of.provenance[name] || {}]);
    const commands = row.commands.map((place) => row.of.commands[place]);
    const again = `python -m benchmarks.table results/${row.of.folder} --only method=${row.method} order=${row.order} merge=${row.merge} --wide`;
    find("#detail .inside").replaceChildren(
      make("header", {}, make("h2", { id: "detail-title" }, row.name), close),
      facts([
        ["benchmark", row.of.name], ["data set", row.dataSet], ["setting", row.setting], ["order", row.order], ["merge rule", row.merge],
        ["needs", Object.entries(row.needs).filter(([, needs]) => needs.length).map(([axis, needs]) => `${axis}: ${needs.join(", ")}`).join("; ") || "nothing"],
        ["queries, gallery", `${row.of.queries.toLocaleString("en")}, ${row.of.gallery.toLocaleString("en")} items`], ["systems", row.of.systems], ["tuning", row.tuning],
      ]),
      make("h3", {}, "Figures"),
      make("div", { class: "scroll narrow", tabindex: 0, role: "region", "aria-label": "Figures" }, make("table", {}, make("tbody", {}, data.columns.map((one, place) =>
        make("tr", {}, make("th", { scope: "row" }, `${one.name} (%)`), make("td", {}, row.cells[place])))))),
      make("h3", {}, "Results"),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results of each seed" }, make("table", {},
        make("thead", {}, make("tr", {}, ["seed", "AUC mAP (%)", "training (s)", "key", "models", "provenance"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, row.results.map(([seed, key, auc, seconds, models, made]) => make("tr", {}, make("th", { scope: "row" }, String(seed)),
          [auc, seconds.toLocaleString("en"), key, models.join(" → "), made.join(", ")].map((text) => make("td", {}, text))))))),
      make("h3", {}, "Made by"),
      commands.length ? make("pre", { tabindex: 0 }, commands.join("\n\n")) : make("p", { class: "soft" }, "No command was kept."),
      make("p", { class: "small soft" }, "This row again: ", make("code", {}, again)),
      ...records.map(([name, record]) => facts([
        ["provenance", name], ["commit", record.git_commit], ["date", record.date],
        ["hardware", record.hardware && Object.entries(record.hardware).map(([part, value]) => `${part}: ${value ?? "none"}`).join(", ")],
        ["threads", record.threads && String(record.threads)], ["versions", record.versions && Object.entries(record.versions).map(([part, value]) => `${part} ${value}`).join(", ")],
      ])),
      make("h3", {}, "Config of the method"), make("pre", { tabindex: 0 }, row.spec),
      make("details", {}, make("summary", {}, "Config of the benchmark"), make("pre", { tabindex: 0 }, row.of.config)),
      make("h3", {}, "The method"), ...(article(row) ? [...article(row).children].slice(1).map((part) => part.cloneNode(true)) : [make("p", {}, row.classPath)]));
    if (!find("#detail").open) find("#detail").showModal();
    find("#detail").scrollTop = 0;
  }

  // ---- what is shown as a file
  function csv() {
    const safe = (text) => `"${(/^[=+\-@\t]/.test(text) && !Number.isFinite(+text) ? "'" : "") + text.replaceAll('"', '""')}"`;
    const head = ["benchmark", "data set", "setting", "method", "order", "merge", "seeds", "needs", ...data.columns.flatMap((one) => [`${one.name} (%)`, "±"]), "encoder passes", "bytes per item", "training (s)"];
    const lines = shown().map((row) => [
      row.of.name, row.dataSet, row.setting, row.method, row.order, row.merge, row.seeds, [...new Set(Object.values(row.needs).flat())].join("; "),
      ...row.cells.flatMap((text) => { const [mean, half = ""] = text.split(" ± "); return [mean, half]; }), row.passes, row.bytes, row.seconds,
    ]);
    const file = new Blob([[head, ...lines].map((cells) => cells.map((text) => safe(String(text))).join(",")).join("\r\n")], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(file), download: "leaderboard.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // ---- controls
  const NAMES = { dataSet: "all", setting: "all", benchmark: "all", order: "all", merge: "all", passes: "any" };
  const fill = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  for (const key of Object.keys(KEYS)) fill(find(`#filters [name=${key}]`), [["", NAMES[key]], ...options[key].map((value) => [value, `${value} (${count.get(key)[value]})`])]);
  fill(find("[name=metric]"), Object.entries(data.metrics).map(([key, one]) => [key, one.label]));
  find("#budget").replaceChildren(...data.budgets.map((kind) => make("label", {}, make("input", { type: "checkbox", name: "budget", value: kind }), make("span", {}, kind))));

  function controls() {
    for (const name of ["q", ...Object.keys(KEYS), "metric", "by", "x", "cost"]) { const control = find(`[name=${name}]`); if (control.value !== state[name]) control.value = state[name]; }
    for (const box of document.querySelectorAll("[name=budget]")) box.checked = !list(state.without).includes(box.value);
    find("#wide").checked = Boolean(state.wide);
    find("#clear").disabled = !state.pick;
  }

  function show() {  // the table at once, charts when no key or click follows
    controls();
    const rows = shown(), chosen = state.pick ? picked() : rows.slice(0, DRAWN);
    board(rows, chosen);
    clearTimeout(soon);
    soon = setTimeout(async () => {
      await Promise.all([curves(chosen), cost(rows, chosen)]);
      if (document.documentElement.dataset.drawn) return;
      document.documentElement.dataset.drawn = "yes";
      performance.mark("drawn");
    }, document.documentElement.dataset.drawn ? 100 : 0);
  }

  function typed({ target: { name, value } }) {
    limit = FIRST;
    const of = data.benchmarks.find((one) => one.name === state.benchmark);
    const other = of && ["dataSet", "setting"].includes(name) && value !== of[name];
    change({ [name]: value, ...(other ? { benchmark: "" } : {}), ...(name === "benchmark" && value ? { dataSet: "", setting: "" } : {}) });
  }
  find("#filters").addEventListener("submit", (event) => event.preventDefault());
  for (const form of document.querySelectorAll("form.filters")) form.addEventListener("input", (event) => {
    if (event.target.name !== "budget") return typed(event);
    change({ without: [...document.querySelectorAll("[name=budget]:not(:checked)")].map((box) => box.value).join("|") });
  });
  find("#wide").addEventListener("change", (event) => change({ wide: event.target.checked ? "1" : "" }));
  find("#clear").addEventListener("click", () => change({ pick: "" }));
  find("#csv").addEventListener("click", csv);
  find("#more").addEventListener("click", () => { limit = Infinity; show(); });
  find("#detail").addEventListener("close", () => { state.result = ""; toAddress(); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();  // the address is the state's
    if (!link.hash.startsWith("#result=")) {
      const part = find(link.hash);
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
      return part.scrollIntoView();
    }
    state.result = decodeURIComponent(link.hash.slice("#result=".length));
    toAddress();
    detail(byId.get(state.result));
  });
  function arrive() {
    fromAddress();
    show();
    if (byId.has(state.result)) detail(byId.get(state.result));
  }
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) arrive(); });
  let width = innerWidth, waiting;
  window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; clearTimeout(waiting); waiting = setTimeout(show, 150); } });
  arrive();
  performance.mark("interactive");
  document.documentElement.dataset.interactive = "yes";
})();
