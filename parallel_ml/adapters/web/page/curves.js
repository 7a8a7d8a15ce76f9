// The curves of a run's jobs, overlaid: loss, accuracy, and any further metric. Read once, then told by the stream.

import { get, runPath } from "./api.js";
import { colour, draw } from "./chart.js";
import { el, fill, isolated, say, throttled } from "./dom.js";
import { isNumber, number } from "./format.js";
import { t } from "./words.js";

const MOST_EPOCHS = 10000;
const DRAW_MS = 700;
const NO_METRICS = new Set(["epoch", "epochs", "source", "nonfinite", "timestamp"]);
const KINDS = {
  loss: { solid: ["val_loss", "loss"], dashed: ["train_loss"], title: "loss_chart" },
  accuracy: { solid: ["val_accuracy", "val_acc", "accuracy", "acc"], dashed: ["train_accuracy", "train_acc"], title: "accuracy_chart" },
};
const COMMON = new Set(Object.values(KINDS).flatMap((kind) => [...kind.solid, ...kind.dashed]));

/** The curves of the jobs that are picked. */
export class Curves {
  constructor(run, picked) {
    this.run = run;
    this.picked = picked;
    this.points = new Map();
    this.reading = new Set();
    this.later = throttled(() => this.draw(), DRAW_MS);
    this.none = el("p", {}, t("no_curves"));
    this.legend = el("ul", { class: "legend" });
    this.other = el("select", { id: "other-metric" });
    this.other.addEventListener("change", () => this.draw());
    this.figures = ["loss", "accuracy", "other"].map((kind) => this.figure(kind));
    this.table = el("tbody");
    this.root = this.build();
  }

  figure(kind) {
    const title = el("figcaption", {}, kind === "other" ? [el("label", { for: "other-metric" }, t("other_metric")), " ", this.other] : t(KINDS[kind].title));
    const holder = el("div", { class: "holder" });
    return { kind, holder, root: el("figure", { hidden: true }, title, holder) };
  }

  build() {
    const heads = ["job", "loss", "lowest", "accuracy", "highest"].map((key) => el("th", { scope: "col" }, t(key)));
    const table = el("table", {}, el("caption", { class: "unseen" }, t("curves")), el("thead", {}, el("tr", {}, heads)), this.table);
    this.details = el("details", {}, el("summary", {}, t("as_table")), el("div", { class: "scroll" }, table));
    return el("section", { "aria-labelledby": "curves-title" }, el("h2", { id: "curves-title" }, t("curves")), this.none,
      this.legend, el("div", { class: "charts" }, this.figures.map((one) => one.root)),
      el("p", { class: "note" }, t("solid_dashed")), this.details);
  }

  /** Take in an epoch that the stream told. */
  epoch({ job, epoch, metrics }) {
    const points = this.points.get(job);
    if (!points || !isNumber(epoch)) return;
    while (points.length && points[points.length - 1].epoch >= epoch) points.pop(); // a resumed job tells some again
    points.push({ ...metrics, epoch });
    this.later();
  }

  /** Forget what was read of a job, or of all: it may not hold any more. */
  forget(job) {
    if (job === undefined) this.points.clear();
    else this.points.delete(job);
  }

  /** Read what is not known yet, and draw. */
  async update() {
    const missing = this.picked.entries().map(([, name]) => name).filter((name) => !this.points.has(name) && !this.reading.has(name));
    this.later();
    await Promise.all(missing.map((name) => this.read(name)));
  }

  async read(name) {
    this.reading.add(name);
    try {
      const told = await get(`${runPath(this.run, "jobs", name, "metrics")}?limit=${MOST_EPOCHS}`);
      this.points.set(name, told.points.filter((point) => isNumber(point.epoch)));
      this.later();
    } catch {
      // asked for again with the next look at the run
    } finally {
      this.reading.delete(name);
    }
  }

  /** Draw what is known. */
  draw() {
    const jobs = this.picked.entries().map(([place, name]) => ({ place, name, points: this.points.get(name) ?? [] }));
    const known = jobs.filter((job) => job.points.length);
    this.none.hidden = known.length > 0;
    this.details.hidden = known.length === 0;
    fill(this.legend, legendOf(jobs));
    this.updateOther(known);
    for (const figure of this.figures) this.drawFigure(figure, known);
    this.table.replaceChildren(...known.map(rowOf));
  }

  drawFigure({ kind, holder, root }, jobs) {
    const lines = jobs.flatMap((job) => linesOf(job, kind === "other" ? { solid: [this.other.value], dashed: [] } : KINDS[kind]));
    root.hidden = !lines.length && !(kind === "other" && this.other.options.length);
    if (root.hidden) return;
    const what = kind === "other" ? this.other.value : t(KINDS[kind].title);
    draw(holder, lines, { alt: altOf(what, jobs, lines), showX: number, whole: true });
  }

  updateOther(jobs) {
    const names = [...new Set(jobs.flatMap((job) => Object.keys(job.points[job.points.length - 1])))]
      .filter((name) => !NO_METRICS.has(name) && !COMMON.has(name)).sort();
    const shown = names.filter((name) => jobs.some((job) => job.points.some((point) => isNumber(point[name]))));
    if ([...this.other.options].map((one) => one.value).join("\n") === shown.join("\n")) return;
    const chosen = this.other.value;
    this.other.replaceChildren(...shown.map((name) => {
      const option = el("option", {}, name);
      option.value = name;
      return option;
    }));
    this.other.value = shown.includes(chosen) ? chosen : shown.includes("learning_rate") ? "learning_rate" : shown[0] ?? "";
  }
}

/** Return the items of a legend: number, colour and name. */
export function legendOf(jobs) {
  return jobs.map(({ place, name }) => el("li", {}, el("span", { class: `key ${colour(place)}` }, place + 1), " ", isolated(name)));
}

/** Return what a chart shows, in words. */
export function altOf(what, jobs, lines) {
  let [low, high] = [Infinity, -Infinity];
  for (const [, y] of lines.flatMap((line) => line.points)) {
    if (y !== null && y < low) low = y;
    if (y !== null && y > high) high = y;
  }
  const names = new Map(jobs.map((job) => [job.place, job.name]));
  const last = lines.filter((line) => !line.dashed)
    .map((line) => `${names.get(line.place)} ${number(line.points.findLast(([, y]) => y !== null)?.[1])}`).join(", ");
  return t("chart_alt", { what, count: jobs.length, low: number(low), high: number(high), last });
}

function linesOf({ place, points }, { solid, dashed }) {
  const line = (names, isDashed) => {
    const name = names.find((one) => points.some((point) => isNumber(point[one])));
    return name === undefined ? null
      : { place, dashed: isDashed, points: points.map((point) => [point.epoch, isNumber(point[name]) ? point[name] : null]) };
  };
  return [line(dashed, true), line(solid, false)].filter(Boolean);
}

function rowOf({ name, points }) {
  const values = ({ solid, dashed }) => (linesOf({ place: 0, points }, { solid: [...solid, ...dashed], dashed: [] })[0]?.points ?? [])
    .map(([, y]) => y).filter((y) => y !== null);
  const losses = values(KINDS.loss);
  const accuracies = values(KINDS.accuracy);
  const extreme = (list, better) => (list.length ? list.reduce((one, other) => (better(other, one) ? other : one)) : null);
  const cells = [losses.at(-1), extreme(losses, (a, b) => a < b), accuracies.at(-1), extreme(accuracies, (a, b) => a > b)];
  const row = el("tr", {}, el("th", { scope: "row" }, isolated(name)));
  for (const value of cells) {
    const cell = el("td", { class: "number" });
    say(cell, number(value));
    row.append(cell);
  }
  return row;
}
