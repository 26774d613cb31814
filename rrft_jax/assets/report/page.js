// Behind common.js, in one script.
const data = JSON.parse($("data").textContent);
const COLOURS = ["#2f7fd1", "#e07b00", "#12936c", "#c94f9c", "#8a6fd1", "#b08a00", "#3aa6c4", "#d1493f"];
const DASHES = ["solid", "dashed", "dotted", "dotdash", "dashdot"]; // a legend shows the last two as the two before
const boxes = document.querySelectorAll("[data-run]");
const shown = (run) => boxes[run].checked;

// ---- Curves
const plots = []; // {figure, holder, series, view, drawn}
const isFirst = (run) => run.stage === 1;
const firsts = data.runs.filter(isFirst).length;
const several = Math.max(firsts, data.runs.length - firsts) > 1; // in one chart
const colourOf = (place) => COLOURS[place % COLOURS.length];

function summary({ name, x, y, missing }) {
  const ends = x.length ? `: ${number(y[0])} at step ${x[0]}, ${number(y.at(-1))} at step ${x.at(-1)}` : "";
  return name + ends + (missing ? `, ${missing} not finite` : "");
}
function legendOf(one) {
  const dash = one.dash.replace("dotdash", "dotted").replace("dashdot", "dashed");
  const line = make("i", { class: "swatch", style: `border-top: .25em ${dash} ${one.colour}` });
  const rest = one.missing ? ` (${one.missing} not finite)` : "";
  return make("span", { title: summary(one), "data-of": one.run }, line, one.label + rest);
}
function addChart(row, title, curves) {
  const names = [...new Set(curves.map((one) => one.name))];
  const series = curves.map((one, k) => ({
    ...one,
    label: (several ? `${data.runs[one.run].name}: ` : "") + one.name,
    colour: colourOf(several ? one.run : k),
    dash: several ? DASHES[names.indexOf(one.name) % DASHES.length] : "solid",
  }));
  const legend = make("span", { class: "legend" }, ...series.map(legendOf));
  const holder = make("div", { class: "plot", role: "img", "aria-label": series.map(summary).join("; ") });
  const figure = make("figure", { class: "chart", tabIndex: 0 }, make("figcaption", {}, title, legend), holder);
  figure.plot = { figure, holder, series, view: null, drawn: [] };
  plots.push(figure.plot);
  row.append(figure);
}
for (const { title, series } of data.charts) {
  const words = [title, ...series.map((one) => one.name)].join(" ").toLowerCase();
  const row = make("div", { class: firsts ? "row stages" : "row", "data-find": words });
  for (const stage of firsts ? [1, 2] : [0]) {
    const part = series.filter((one) => isFirst(data.runs[one.run]) === (stage === 1));
    if (part.length) addChart(row, stage ? `${title} · stage ${stage}` : title, part);
  }
  $("charts").append(row);
}

const spanOf = ({ x }) => 0.3 * ($("smooth").value / 100) ** 2 * (x.length && x.at(-1) - x[0]);
// An exponential mean over the steps, whose spacing need not be even.
function smoothed({ x, y }, span) {
  let mean = y[0];
  return y.map((value, k) => (mean += (1 - Math.exp((x[Math.max(0, k - 1)] - x[k]) / span)) * (value - mean)));
}
function restyle({ one, source, lines }) { // as the slider and the boxes of the runs have it
  const span = spanOf(one);
  source.data = { ...source.data, s: span ? smoothed(one, span) : one.y };
  lines[0].glyph.line_alpha = span ? 0.3 : 0;
  for (const line of lines) line.visible = shown(one.run);
}
function addCurve(chart, one) {
  const source = new Bokeh.ColumnDataSource({ data: { x: one.x, y: one.y, s: one.y, n: one.x.map(() => one.label) } });
  const style = { source, line_color: one.colour, line_dash: one.dash }, smooth = { y: { field: "s" } };
  const lines = [chart.line(style), chart.line({ ...style, ...smooth, line_width: 2 })];
  if (one.x.length < 40) lines.push(chart.scatter({ source, ...smooth, size: 4, color: one.colour }));
  return { one, source, lines };
}
async function draw(plot) {
  if (plot.series.every((one) => !one.x.length)) return plot.holder.replaceChildren("no finite value");
  const { backgroundColor: card, borderTopColor: line, color: text } = getComputedStyle(plot.figure);
  const chart = Bokeh.Plotting.figure({
    height: 230, sizing_mode: "stretch_width", tools: "pan,box_zoom,xwheel_zoom,reset,save", active_scroll: null,
    toolbar_location: "right", y_axis_type: $("log").checked ? "log" : "linear", min_border: 4,
    background_fill_color: card, border_fill_color: card, outline_line_color: null,
  });
  Object.assign(chart.toolbar, { logo: null, autohide: true });
  Object.assign(chart.grid, { grid_line_color: line });
  Object.assign(chart.axis, {
    axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null, major_label_text_color: text,
  });
  plot.drawn = plot.series.map((one) => addCurve(chart, one));
  plot.drawn.forEach(restyle);
  chart.add_tools(new Bokeh.HoverTool({
    renderers: plot.drawn.map(({ lines }) => lines[1]),
    mode: "mouse", point_policy: "snap_to_data", line_policy: "nearest", // in a column all at once overlap
    tooltips: [["", "@n"], ["step", "@x{0,0}"], ["value", "@y{0.[0000]}"]],
  }));
  plot.view = await Bokeh.Plotting.show(chart, plot.holder);
  plot.figure.dataset.drawn = "yes";
}
const seen = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    seen.unobserve(target);
    draw(target.plot);
  }
}, { rootMargin: "300px" });
function drawAgain() { // with other colours or axes, when it is in view
  for (const plot of plots) {
    plot.view?.remove();
    plot.view = null;
    plot.holder.replaceChildren();
    seen.observe(plot.figure);
  }
}
function showCurves() {
  const widest = Math.max(0, ...data.charts.flatMap((chart) => chart.series.map(spanOf)));
  $("smoothed").textContent = widest ? `about ${Math.max(1, Math.round(widest))} steps` : "none";
  for (const entry of document.querySelectorAll("[data-of]")) entry.hidden = !shown(entry.dataset.of);
  for (const plot of plots) plot.drawn.forEach(restyle);
}
drawAgain();
$("smooth").addEventListener("input", showCurves);
$("find").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  for (const row of $("charts").children) row.hidden = !row.dataset.find.includes(wanted);
});
$("log").addEventListener("change", drawAgain);
if (several) boxes.forEach((box, run) => box.style.setProperty("accent-color", colourOf(run)));

// ---- Completions
function card(group, completions, labelOf) {
  const run = data.runs.length > 1 ? `${data.runs[group.run].name}, ` : "";
  const steps = [...new Set(completions.map((one) => one.step ?? group.step))].join(", ");
  const head = [`${run}step ${steps}`, group.task, group.id, `answer: ${group.answer}`].filter(Boolean);
  const texts = completions.map((one) => one.text);
  const pictures = group.pictures.map((name, k) => pictureOf(data.pictures[name], group, k, texts));
  const prompt = make("div", { class: "text prompt", tabIndex: 0 }, group.prompt);
  const said = completions.map((one) =>
    div("completion", chips(one, labelOf(one)), div("text", one.text || "(empty)")));
  return make("article", { class: "card", tabIndex: 0 }, div("head", ...head.map((text) => make("span", {}, text))),
    div("", ...pictures), div("", prompt, div("completions", ...said)));
}
const PAGE = 20;
let limit = PAGE;
const ORDERS = { // what is greatest comes first
  run: () => 0, advantage: (one) => Math.abs(one.advantage ?? 0),
  best: (one) => one.reward ?? -Infinity, worst: (one) => -(one.reward ?? Infinity),
};
const by = (key) => (a, b) => key(b) - key(a);
function within(x, least, most) { // of two fields, whose value is "" where there is no limit
  return (!least.value || (x ?? NaN) >= least.value) && (!most.value || (x ?? NaN) <= most.value);
}
function chosen() { // [group, its completions that pass], in order
  const { step, task, rmin, rmax, lmin, lmax, text, cut, ends, order } = $("filters").elements;
  const has = (what) => what.toLowerCase().includes(text.value.toLowerCase());
  const found = [];
  for (const group of data.groups) {
    const asked = ["all", String(group.step)].includes(step.value) && ["all", group.task].includes(task.value);
    const passed = group.completions.filter((one) => asked && shown(group.run) &&
      within(one.reward, rmin, rmax) && within(one.length, lmin, lmax) &&
      (!cut.checked || one.finished === false) && (has(group.prompt) || has(one.text)));
    if (ends.checked) passed.sort(by(ORDERS.best)).splice(1, passed.length - 2);
    passed.sort(by(ORDERS[order.value]));
    if (passed.length) found.push([group, passed]);
  }
  return found.sort(by(([, passed]) => ORDERS[order.value](passed[0])));
}
function rankIn({ completions }) {
  const most = Math.max(...completions.map(ORDERS.best)), least = -Math.max(...completions.map(ORDERS.worst));
  return ({ reward }) => (most === least ? "" : reward === most ? "best" : reward === least ? "worst" : "");
}
function showGroups() {
  const found = chosen();
  $("count").textContent = `${found.flatMap(([, passed]) => passed).length} completions of ${found.length} prompts`;
  $("groups").replaceChildren(...found.slice(0, limit).map(([group, passed]) => card(group, passed, rankIn(group))));
  $("more").hidden = found.length <= limit;
}
function showFirst() {
  limit = PAGE;
  showGroups();
}
function move(by) {
  const { options, selectedIndex } = $("step"); // the first of which is all
  $("step").selectedIndex = Math.min(options.length - 1, Math.max(1, selectedIndex + by));
  showFirst();
}
function showQuestions() {
  const asked = data.questions.filter((question) => shown(question.run));
  $("questions").replaceChildren(...asked.map((one) => card(one, one.answers, ({ step }) => `step ${step}`)));
}
function showAll() {
  showCurves();
  showGroups();
  showQuestions();
}
showAll();
$("runs").addEventListener("change", showAll);
$("filters").addEventListener("input", showFirst);
$("more").addEventListener("click", () => {
  limit += PAGE;
  showGroups();
});
$("earlier").addEventListener("click", () => move(-1));
$("later").addEventListener("click", () => move(1));

// ---- Theme and keys
$("theme").addEventListener("click", drawAgain);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const cards = [...document.querySelectorAll(".card, .chart")].filter((one) => one.offsetParent);
  const at = cards.indexOf(document.activeElement?.closest(".card, .chart"));
  const action = {
    d: () => $("theme").click(), "/": () => $("text").focus(), "[": () => $("earlier").click(),
    "]": () => $("later").click(), n: () => cards[at + 1]?.focus(), p: () => cards[Math.max(0, at - 1)]?.focus(),
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
