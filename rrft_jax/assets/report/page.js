// Behind common.js, in one script.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const COLOURS = ["#2f7fd1", "#e07b00", "#12936c", "#c94f9c", "#8a6fd1", "#b08a00", "#3aa6c4", "#d1493f"];
const DASHES = ["solid", "dashed", "dotted", "dotdash", "dashdot"]; // a legend shows the last two as the two before
const shown = data.runs.map(() => true);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const stepRange = (x) => (x.length ? x[x.length - 1] - x[0] : 0);

// ---- Curves
const staged = data.runs.some((run) => run.stage);
const plots = []; // {holder, title, series, view, sources}
const several = new Set(data.runs.filter((run) => run.stage !== 1).map((run) => run.name)).size > 1;

function colourOf(series, place) {
  if (!several) return COLOURS[place % COLOURS.length];
  return COLOURS[series.run % COLOURS.length];
}
function dashOf(series, all) {
  const names = [...new Set(all.map((one) => one.name))];
  return several ? DASHES[names.indexOf(series.name) % DASHES.length] : "solid";
}
function summary(series) {
  const { x, y, name, missing } = series;
  const rest = missing ? `, ${missing} not finite` : "";
  if (!x.length) return `${name}${rest}`;
  return `${name}: ${number(y[0])} at step ${x[0]}, ${number(y[y.length - 1])} at step ${x[x.length - 1]}${rest}`;
}
// An exponential mean over the steps, whose spacing need not be even.
function smoothed(x, y, span) {
  if (!span || !y.length) return y;
  let mean = y[0];
  return y.map((value, k) => (mean += (k ? 1 - Math.exp(-(x[k] - x[k - 1]) / span) : 1) * (value - mean)));
}
function spanOf(series) {
  const share = Number($("smooth").value) / 100;
  return share * share * 0.3 * stepRange(series.x);
}
function addChart(parent, title, series) {
  const alone = new Set(series.map((one) => one.run)).size === 1 && !several;
  const label = (one) => (alone ? "" : `${data.runs[one.run].name}: `) + one.name;
  const legend = make("span", { class: "legend" }, ...series.map((one, k) => {
    const mark = make("i", { class: "swatch line" });
    mark.style.borderTop = `.25em ${dashOf(one, series).replace("dotdash", "dotted").replace("dashdot", "dashed")} ${colourOf(one, k)}`;
    const entry = make("span", { title: summary(one) }, mark, label(one), one.missing ? ` (${one.missing} not finite)` : "");
    entry.dataset.of = one.run;
    return entry;
  }));
  const holder = make("div", { class: "plot", role: "img", "aria-label": series.map(summary).join("; ") });
  const figure = make("figure", { class: "chart", tabIndex: 0 }, make("figcaption", {}, title, legend), holder);
  const plot = { figure, holder, title, series, view: null, drawn: [], label };
  figure.plot = plot;
  parent.append(figure);
  plots.push(plot);
}
async function draw(plot) {
  if (plot.series.every((one) => !one.x.length)) return plot.holder.replaceChildren("no finite value");
  const log = $("log").checked;
  const axis = { axis_line_color: css("--line"), major_tick_line_color: css("--line"), minor_tick_line_color: null, major_label_text_color: css("--quiet") };
  const chart = Bokeh.Plotting.figure({
    height: 230, sizing_mode: "stretch_width", tools: "pan,box_zoom,xwheel_zoom,reset,save", active_scroll: null,
    toolbar_location: "right", y_axis_type: log ? "log" : "linear",
    background_fill_color: css("--card"), border_fill_color: css("--card"), outline_line_color: null, min_border: 4,
  });
  chart.toolbar.logo = null;
  chart.toolbar.autohide = true;
  for (const one of [...chart.xaxis, ...chart.yaxis]) Object.assign(one, axis);
  for (const one of [...chart.xgrid, ...chart.ygrid]) one.grid_line_color = css("--line");
  const ids = [];
  plot.drawn = plot.series.map((one, k) => {
    const colour = colourOf(one, k), dash = dashOf(one, plot.series), span = spanOf(one);
    const source = new Bokeh.ColumnDataSource({ data: { x: one.x, y: one.y, s: smoothed(one.x, one.y, span), n: one.x.map(() => plot.label(one)) } });
    const line = { source, line_color: colour, line_dash: dash, visible: shown[one.run] };
    const faint = chart.line({ field: "x" }, { field: "y" }, { ...line, line_width: 1, line_alpha: span ? 0.3 : 0 });
    const strong = chart.line({ field: "x" }, { field: "s" }, { ...line, line_width: 2 });
    const points = one.x.length < 40 ? chart.scatter({ field: "x" }, { field: "s" }, { source, size: 4, color: colour, visible: shown[one.run] }) : null;
    ids.push(strong);
    return { one, source, faint, lines: [faint, strong, points].filter(Boolean) };
  });
  chart.add_tools(new Bokeh.HoverTool({
    renderers: ids, mode: "mouse", point_policy: "snap_to_data", line_policy: "nearest", // in a column all at once overlap
    tooltips: [["", "@n"], ["step", "@x{0,0}"], ["value", "@y{0.[0000]}"]],
  }));
  plot.holder.replaceChildren();
  plot.view = await Bokeh.Plotting.show(chart, plot.holder);
  plot.figure.dataset.drawn = "yes";
}
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const plot = entry.target.plot;
    if (entry.isIntersecting && !plot.view) {
      plot.view = true; // while it is made
      draw(plot);
    }
  }
}, { rootMargin: "300px" });

function again() { // with other colours or axes: what is in view is drawn again
  for (const plot of plots) {
    if (plot.view && plot.view.remove) plot.view.remove();
    plot.view = null;
    plot.holder.replaceChildren();
    seen.unobserve(plot.figure);
    seen.observe(plot.figure);
  }
}
function startCurves() {
  for (const { title, series } of data.charts) {
    const row = make("div", { class: staged ? "row stages" : "row" });
    row.dataset.find = `${title} ${series.map((one) => one.name).join(" ")}`.toLowerCase();
    const parts = staged ? [[1, "stage 1"], [2, "stage 2"]] : [[0, ""]];
    for (const [stage, name] of parts) {
      const part = series.filter((one) => !staged || (stage === 1) === (data.runs[one.run].stage === 1));
      if (part.length) addChart(row, name ? `${title} · ${name}` : title, part);
    }
    $("charts").append(row);
  }
  plots.forEach((plot) => seen.observe(plot.figure));
  $("smooth").addEventListener("input", () => {
    const widest = Math.max(0, ...data.charts.flatMap((chart) => chart.series.map(spanOf)));
    $("smoothed").textContent = widest ? `about ${Math.max(1, Math.round(widest))} steps` : "none";
    for (const plot of plots) for (const { one, source, faint } of plot.drawn) {
      const span = spanOf(one);
      source.data = { ...source.data, s: smoothed(one.x, one.y, span) };
      faint.glyph.line_alpha = span ? 0.3 : 0;
    }
  });
  $("find").addEventListener("input", () => {
    for (const row of $("charts").children) row.hidden = !row.dataset.find.includes($("find").value.trim().toLowerCase());
  });
  $("log").addEventListener("change", again);
  for (const mark of document.querySelectorAll("[data-colour]")) {
    mark.hidden = !several;
    mark.style.background = COLOURS[mark.dataset.colour % COLOURS.length];
  }
  for (const box of document.querySelectorAll("[data-run]")) box.addEventListener("change", () => {
    shown[box.dataset.run] = box.checked;
    for (const plot of plots) for (const { one, lines } of plot.drawn) for (const line of lines) line.visible = shown[one.run];
    for (const entry of document.querySelectorAll("[data-of]")) entry.hidden = !shown[entry.dataset.of];
    if ($("groups")) showGroups();
    if ($("questions")) showQuestions();
  });
}

// ---- Completions
function card(group, completions, labels) {
  const several = data.runs.length > 1 ? `${data.runs[group.run].name}, ` : "";
  const pictures = make("div", {}, ...group.pictures.map((_, k) => pictureOf(data.pictures[group.pictures[k]], group, k, completions.map((one) => one.text))));
  const head = [`${several}step ${group.step}`, group.task, group.id, `answer: ${group.answer}`];
  return make("article", { class: "card", tabIndex: 0 },
    make("div", { class: "head" }, ...head.filter(Boolean).map((text) => make("span", {}, text))), pictures,
    make("div", {}, make("div", { class: "text prompt", tabIndex: 0 }, group.prompt),
      make("div", { class: "completions" }, ...completions.map((one) =>
        make("div", { class: "completion" }, chips(one, labels(one)), make("div", { class: "text" }, one.text || "(empty)"))))));
}
const groups = data.groups, PAGE = 20;
let limit = PAGE;
const value = (id) => ($(id).value === "" ? null : Number($(id).value));
const inside = (x, least, most) => (least === null || (x !== null && x >= least)) && (most === null || (x !== null && x <= most));

function chosen() { // [group, its completions that pass], in order
  const step = $("step").value, task = $("task").value, text = $("text").value.toLowerCase();
  const [rmin, rmax, lmin, lmax] = ["rmin", "rmax", "lmin", "lmax"].map(value);
  const found = [];
  for (const group of groups) {
    if (!shown[group.run] || (step !== "all" && group.step !== Number(step)) || (task !== "all" && group.task !== task)) continue;
    const inPrompt = group.prompt.toLowerCase().includes(text);
    let passed = group.completions.filter((one) => inside(one.reward, rmin, rmax) && inside(one.length, lmin, lmax) &&
      (!$("cut").checked || one.finished === false) && (inPrompt || one.text.toLowerCase().includes(text)));
    if ($("ends").checked && passed.length > 2) {
      const sorted = [...passed].sort((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity));
      passed = [sorted[0], sorted[sorted.length - 1]];
    }
    if (passed.length) found.push([group, passed]);
  }
  const keys = { advantage: (one) => Math.abs(one.advantage ?? 0), best: (one) => one.reward ?? -Infinity, worst: (one) => -(one.reward ?? Infinity) };
  const key = keys[$("order").value];
  if (key) {
    for (const [, completions] of found) completions.sort((a, b) => key(b) - key(a));
    found.sort((a, b) => key(b[1][0]) - key(a[1][0]));
  }
  return found;
}
function showGroups() {
  const found = chosen(), total = found.reduce((sum, [, some]) => sum + some.length, 0);
  $("count").textContent = `${total} completions of ${found.length} prompts`;
  $("groups").replaceChildren(...found.slice(0, limit).map(([group, some]) => {
    const rewards = group.completions.map((one) => one.reward).filter((x) => x !== null);
    const [most, least] = [Math.max(...rewards), Math.min(...rewards)];
    const rank = (one) => (most === least ? "" : one.reward === most ? "best" : one.reward === least ? "worst" : "");
    return card(group, some, rank);
  }));
  $("more").hidden = found.length <= limit;
}
function startGallery() {
  const option = (text, choice) => make("option", { value: choice }, text);
  const steps = [...new Set(groups.map((group) => group.step))].sort((a, b) => a - b);
  $("step").append(option("all", "all"), ...steps.map((step) => option(String(step), String(step))));
  $("step").value = String(steps[steps.length - 1]);
  const tasks = [...new Set(groups.map((group) => group.task))].sort();
  $("task").append(option("all", "all"), ...tasks.map((task) => option(task || "(not recorded)", task)));
  const changed = () => { limit = PAGE; showGroups(); };
  for (const id of ["step", "task", "rmin", "rmax", "lmin", "lmax", "text", "cut", "ends", "order"]) $(id).addEventListener("input", changed);
  const move = (by) => {
    const select = $("step");
    select.selectedIndex = Math.min(select.options.length - 1, Math.max(1, select.selectedIndex + by));
    changed();
  };
  $("earlier").addEventListener("click", () => move(-1));
  $("later").addEventListener("click", () => move(1));
  $("more").addEventListener("click", () => { limit += PAGE; showGroups(); });
  showGroups();
}
function showQuestions() {
  $("questions").replaceChildren(...data.questions.filter((question) => shown[question.run]).map((question) =>
    card({ ...question, step: question.answers.map((one) => one.step).join(", ") }, question.answers, (one) => `step ${one.step}`)));
}

// ---- Theme and keys
function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  again();
}
$("theme").addEventListener("click", toggleTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const cards = [...document.querySelectorAll(".card, .chart")].filter((one) => one.offsetParent);
  const at = cards.indexOf(document.activeElement && document.activeElement.closest(".card, .chart"));
  const actions = {
    d: toggleTheme, "/": () => $("text") && $("text").focus(), "[": () => $("earlier") && $("earlier").click(),
    "]": () => $("later") && $("later").click(), n: () => cards[Math.min(cards.length - 1, at + 1)]?.focus(),
    p: () => cards[Math.max(0, at - 1)]?.focus(),
  };
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
});
startCurves();
if ($("groups")) startGallery();
if ($("questions")) showQuestions();
