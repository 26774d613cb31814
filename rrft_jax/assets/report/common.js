"use strict";
// What the report and the demo share. All text becomes text nodes; nothing here writes HTML.
const NAMES = { class: "className", for: "htmlFor" };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[NAMES[name] || name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const number = (x) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(4))));

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
function pictureOf(picture, group, place, texts) {
  const box = make("div", { class: "picture" }, make("img", { src: picture.url, alt: `picture ${place + 1} of ${group.id}`, loading: "lazy" }));
  const { size, ...places } = group.metadata;
  const known = Array.isArray(size) && size.length === 2 ? [picture.width / size[0], picture.height / size[1]] : [1, 1];
  const gold = shapes(Object.values(places), known);
  if (place || !Object.keys(places).length) return box;
  const said = group.scale || scaleOf(group.answer, gold);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const add = (shape, kind) => {
    const [x, y, right, bottom] = shape, isBox = shape.length === 4;
    const mark = document.createElementNS(svg.namespaceURI, isBox ? "rect" : "circle");
    const fields = isBox ? { x: Math.min(x, right), y: Math.min(y, bottom), width: Math.abs(right - x), height: Math.abs(bottom - y) } : { cx: x, cy: y, r: Math.max(picture.width, picture.height) / 50 };
    for (const [name, value] of Object.entries({ ...fields, class: kind })) mark.setAttribute(name, value);
    svg.append(mark);
  };
  for (const text of texts) for (const shape of shapes(saidIn(text, group.corners || hasBox(gold)), said)) add(shape, "said");
  for (const shape of gold) add(shape, "gold");
  box.append(svg);
  return box;
}

// ---- Rewards
function chips(one, label) {
  const chip = (text, kind = "") => make("span", { class: `chip ${kind}` }, text);
  const { advantage } = one;
  return make("div", { class: "chips" }, label ? chip(label) : null, chip(`reward ${number(one.reward)}`),
    ...Object.entries(one.rewards).map(([name, value]) => chip(`${name} ${number(value)}`)),
    advantage === null ? null : chip(`advantage ${advantage > 0 ? "+" : ""}${number(advantage)}`, advantage > 0 ? "up" : advantage < 0 ? "down" : ""),
    one.length === null ? null : chip(`${one.length} tokens`), one.finished === false ? chip("cut off", "cut") : null);
}
