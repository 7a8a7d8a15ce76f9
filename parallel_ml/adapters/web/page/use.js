// What the jobs took of the machine over time: GPU memory and utilisation, else memory and CPU.

import { get, runPath } from "./api.js";
import { draw } from "./chart.js";
import { el, fill } from "./dom.js";
import { duration, isNumber } from "./format.js";
import { altOf, legendOf } from "./curves.js";
import { store } from "./store.js";
import { t } from "./words.js";

const MOST = 10000;
const EVERY_MS = 6000;
const LIVE = new Set(["starting", "running", "stopping", "paused"]);
const FIGURES = [["gpu_memory_mb", "use_gpu_memory"], ["gpu_utilization", "use_gpu"], ["memory_mb", "use_memory"], ["cpu_percent", "use_cpu"]];

/** The samples of the jobs that are picked. */
export class Use {
  constructor(run, picked) {
    this.run = run;
    this.picked = picked;
    this.known = new Map();
    this.due = 0;
    this.busy = false;
    this.none = el("p", {}, t("no_use"));
    this.noGpu = el("p", { class: "note", hidden: true }, t("no_gpu"));
    this.legend = el("ul", { class: "legend" });
    this.figures = FIGURES.map(([key, title]) => {
      const holder = el("div", { class: "holder" });
      return { key, title, holder, root: el("figure", { hidden: true }, el("figcaption", {}, t(title)), holder) };
    });
    this.root = el("section", { "aria-labelledby": "use-title" }, el("h2", { id: "use-title" }, t("use")), this.none, this.noGpu,
      this.legend, el("div", { class: "charts" }, this.figures.map((one) => one.root)), el("p", { class: "note" }, t("since_start")));
  }

  /** Read what is new, now and then or at once, and draw. */
  async update(atOnce = false) {
    if (this.busy || (!atOnce && performance.now() < this.due)) return;
    this.busy = true;
    const began = performance.now();
    try {
      for (const [, name] of this.picked.entries()) await this.read(name);
    } finally {
      this.busy = false;
      this.due = performance.now() + Math.max(EVERY_MS, 8 * (performance.now() - began));
    }
    this.draw();
  }

  async read(name) {
    const job = store.jobs.get(name);
    if (!job) return;
    let known = this.known.get(name);
    if (!known || known.attempt !== job.attempt) known = { attempt: job.attempt, points: [], whole: false };
    if (known.whole && !LIVE.has(job.state)) return;
    try {
      const path = `${runPath(this.run, "jobs", name, "samples")}?limit=${MOST}`;
      let told = await get(`${path}&offset=${known.points.length}`);
      if (told.total < known.points.length) { // the file was thinned
        known.points = [];
        told = await get(path);
      }
      known.points.push(...told.points);
      known.whole = !LIVE.has(job.state);
      this.known.set(name, known);
    } catch {
      // asked for again
    }
  }

  /** Draw what is known. */
  draw() {
    const jobs = this.picked.entries().map(([place, name]) => ({ place, name, points: this.known.get(name)?.points ?? [] }));
    let drawn = 0;
    for (const figure of this.figures) {
      const lines = jobs.map((job) => lineOf(job, figure.key)).filter(Boolean);
      figure.root.hidden = !lines.length;
      if (!lines.length) continue;
      drawn += 1;
      draw(figure.holder, lines, { alt: altOf(t(figure.title), jobs, lines), showX: duration, whole: false });
    }
    this.none.hidden = drawn > 0;
    this.noGpu.hidden = drawn === 0 || !(this.figures[0].root.hidden && this.figures[1].root.hidden);
    fill(this.legend, drawn ? legendOf(jobs.filter((job) => job.points.length)) : []);
  }
}

function lineOf({ place, points }, key) {
  const known = points.filter((point) => point.ended !== true && isNumber(Date.parse(point.timestamp)));
  if (!known.some((point) => isNumber(point[key]))) return null;
  const began = Date.parse(known[0].timestamp);
  return { place, dashed: false, points: known.map((point) => [(Date.parse(point.timestamp) - began) / 1000, isNumber(point[key]) ? point[key] : null]) };
}
