// Lines over a common axis, as SVG. Each line has a number at its end, so that the colour says nothing alone.

import { el } from "./dom.js";
import { isNumber, number } from "./format.js";

const HEIGHT = 240;
const MARGIN = { top: 10, right: 30, bottom: 30, left: 56 };
const MOST_POINTS = 600;
const LARGEST = 1e300;
const LOG_FROM = 1000;
const LABEL_HEIGHT = 12;
const LABEL_WIDTH = 16;
const COLOURS = 10;

/** Return the class of a line's colour. */
export const colour = (place) => `c${place % COLOURS}`;

/**
 * Draw lines.
 * @param {HTMLElement} holder - What is drawn into; as wide as it is.
 * @param {Array<{place: number, points: Array<[number, number|null]>, dashed: boolean}>} lines - What is drawn.
 * @param {{alt: string, showX: Function, whole: boolean}} look - What it shows, in words; how x reads.
 */
export function draw(holder, lines, look) {
  const width = Math.max(240, Math.floor(holder.clientWidth || 600));
  const drawn = lines.map((line) => ({ ...line, points: thinned(line.points.map(([x, y]) => [x, clamped(y)])) }));
  const known = drawn.flatMap((line) => line.points.filter(([, y]) => y !== null));
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const xs = scaleOf(known.map(([x]) => x), MARGIN.left, right, false);
  const ys = scaleOf(known.map(([, y]) => y), bottom, MARGIN.top, true);
  const svg = el("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": look.alt, class: "chart" },
    grid(xs, ys, right, bottom, look),
    drawn.map((line) => el("path", { d: path(line.points, xs, ys), class: `line ${colour(line.place)}${line.dashed ? " dashed" : ""}` })),
    labels(drawn, xs, ys));
  holder.replaceChildren(svg);
}

function grid(xs, ys, right, bottom, look) {
  const parts = [];
  for (const value of ys.ticks()) {
    const y = ys.at(value).toFixed(1);
    parts.push(el("line", { x1: MARGIN.left, x2: right, y1: y, y2: y, class: "grid" }),
      el("text", { x: MARGIN.left - 6, y: Number(y) + 4, "text-anchor": "end" }, number(value) || "0"));
  }
  const most = Math.max(2, Math.floor((right - MARGIN.left) / 70));
  const ticks = xs.ticks().filter((value) => !look.whole || Number.isInteger(value));
  const step = Math.ceil(ticks.length / most);
  for (const value of ticks.filter((_, place) => place % step === 0)) {
    parts.push(el("text", { x: xs.at(value).toFixed(1), y: bottom + 18, "text-anchor": "middle" }, look.showX(value)));
  }
  parts.push(el("line", { x1: MARGIN.left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  return parts;
}

/** Return the numbers at the ends of the solid lines, moved apart where they would cover each other. */
function labels(lines, xs, ys) {
  const ends = lines.filter((line) => !line.dashed).map((line) => {
    const last = line.points.findLast(([, y]) => y !== null);
    return last && { place: line.place, x: xs.at(last[0]) + 5, y: ys.at(last[1]) + 4, alone: line.points.length === 1 };
  }).filter(Boolean).sort((one, other) => one.y - other.y);
  const dots = ends.filter((end) => end.alone)
    .map((end) => el("circle", { cx: end.x - 5, cy: end.y - 4, r: 3, class: `dot ${colour(end.place)}` }));
  ends.forEach((end, place) => {
    const above = ends.slice(0, place).filter((one) => isBeside(one, end)).map((one) => one.y + LABEL_HEIGHT);
    end.y = Math.max(end.y, ...above);
  });
  ends.reverse().forEach((end, place) => {
    const below = ends.slice(0, place).filter((one) => isBeside(one, end)).map((one) => one.y - LABEL_HEIGHT);
    end.y = Math.min(end.y, HEIGHT - MARGIN.bottom, ...below);
  });
  return [...dots, ...ends.map((end) => el("text",
    { x: end.x.toFixed(1), y: end.y.toFixed(1), class: `name ${colour(end.place)}` }, end.place + 1))];
}

const isBeside = (one, other) => Math.abs(one.x - other.x) < LABEL_WIDTH;

function path(points, xs, ys) {
  let pen = "M";
  const parts = [];
  for (const [x, y] of points) {
    if (y === null) {
      pen = "M";
      continue;
    }
    parts.push(`${pen}${xs.at(x).toFixed(1)} ${ys.at(y).toFixed(1)}`);
    pen = "L";
  }
  return parts.join("");
}

const clamped = (value) => (isNumber(value) ? Math.max(-LARGEST, Math.min(LARGEST, value)) : null);

/** Return fewer points that look the same: of each stretch its lowest and its highest. */
export function thinned(points) {
  if (points.length <= MOST_POINTS) return points;
  const stretch = Math.ceil((2 * points.length) / MOST_POINTS);
  const kept = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const known = part.filter(([, y]) => y !== null);
    if (!known.length) {
      kept.push(part[0]);
      continue;
    }
    const low = known.reduce((best, one) => (one[1] < best[1] ? one : best));
    const high = known.reduce((best, one) => (one[1] > best[1] ? one : best));
    kept.push(...(low === high ? [low] : [low, high].sort((one, other) => one[0] - other[0])));
  }
  return kept;
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

/** Return a scale on which all values are: by powers of ten where they differ by more than a thousandfold. */
export function scaleOf(values, begin, end, mayBeLog) {
  let [low, high] = extent(values);
  const isLog = mayBeLog && low > 0 && high / low > LOG_FROM;
  if (!isLog && high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high), 1e-290)) {
    const room = Math.abs(low) / 10 || 0.5;
    [low, high] = [low - room, high + room];
  }
  const even = isLog ? Math.log10 : (value) => value;
  const at = (value) => begin + ((even(value) - even(low)) / (even(high) - even(low))) * (end - begin);
  return { at, ticks: () => (isLog ? powers(low, high) : roundValues(low, high)) };
}

function powers(low, high) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / 7));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, place) => 10 ** (first + place * step));
}

function roundValues(low, high) {
  const span = high - low;
  const base = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((factor) => base * factor).find((one) => span / one <= 6) ?? 10 * base;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.max(0, Math.floor(high / step + 1e-9) - first + 1);
  return Array.from({ length: Math.min(count, 20) }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}
