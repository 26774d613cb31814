"use strict";
// What the report and the demo share. All text becomes text nodes; nothing here writes HTML.
const $ = (id) => document.getElementById(id);
const number = (x) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(4))));
const DRAWN = ["svg", "rect", "circle"];

function make(tag, attributes = {}, ...children) {
  const space = DRAWN.includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}
const div = (name, ...children) => make("div", { class: name }, ...children);
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.style.colorScheme = getComputedStyle(root).colorScheme === "dark" ? "light" : "dark";
});

// ---- Pictures with boxes and points
function shapes(value, scale) { // nested lists of numbers: 2 are a point, 4 a box; in pixels of the picture
  if (!Array.isArray(value)) return [];
  if (!value.every((x) => typeof x === "number")) return value.flatMap((x) => shapes(x, scale));
  return value.length === 2 || value.length === 4 ? [value.map((x, k) => x * scale[k % 2])] : [];
}
// Tasks write coordinates in four ways. How far apart the gold answer's numbers and its pixels are tells which.
function scaleOf(answer, gold) {
  for (const told of saidIn(answer, hasBox(gold))) {
    const same = gold.find((shape) => shape.length === told.length);
    const last = told.length - 2;
    if (same && told[last] > 0 && told[last + 1] > 0) return [same[last] / told[last], same[last + 1] / told[last + 1]];
  }
  return [1, 1];
}
const hasBox = (shapes) => shapes.some((shape) => shape.length === 4);
function saidIn(text, corners) { // of what is answered, not of what is thought; corners: (x, y), (x, y) is a box
  const answer = /<answer>([^]*?)(<\/answer>|$)/.exec(text);
  const said = (answer ? answer[1] : text).replace(corners ? /\)\s*,\s*\(/g : /$^/, ", ");
  const found = said.matchAll(/[[(]\s*(-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)+)\s*[\])]/g);
  return [...found].map((match) => match[1].split(",").map(Number));
}
function outline([x, y, right, bottom], kind, radius) {
  if (right === undefined) return make("circle", { class: kind, cx: x, cy: y, r: radius });
  const size = { width: Math.abs(right - x), height: Math.abs(bottom - y) };
  return make("rect", { class: kind, x: Math.min(x, right), y: Math.min(y, bottom), ...size });
}
function pictureOf({ url, width, height }, group, place, texts) {
  const alt = `picture ${place + 1} of ${group.id}`;
  const box = div("picture", make("img", { src: url, alt, loading: "lazy" }));
  const { size, ...places } = group.metadata;
  if (place || !Object.keys(places).length) return box;
  const known = Array.isArray(size) && size.length === 2 ? [width / size[0], height / size[1]] : [1, 1];
  const gold = shapes(Object.values(places), known);
  const told = texts.map((text) => saidIn(text, group.corners || hasBox(gold)));
  const said = shapes(told, group.scale || scaleOf(group.answer, gold));
  const marks = [[said, "said"], [gold, "gold"]].flatMap(([all, kind]) =>
    all.map((shape) => outline(shape, kind, Math.max(width, height) / 50)));
  box.append(make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" }, ...marks));
  return box;
}

// ---- Rewards
function chips(one, label) {
  const chip = (text, kind = "") => make("span", { class: `chip ${kind}` }, text);
  const { advantage } = one;
  const way = advantage > 0 ? "up" : advantage < 0 ? "down" : "";
  return div("chips", label ? chip(label) : null, chip(`reward ${number(one.reward)}`),
    ...Object.entries(one.rewards).map(([name, value]) => chip(`${name} ${number(value)}`)),
    advantage === null ? null : chip(`advantage ${way === "up" ? "+" : ""}${number(advantage)}`, way),
    one.length === null ? null : chip(`${one.length} tokens`), one.finished === false ? chip("cut off", "cut") : null);
}
