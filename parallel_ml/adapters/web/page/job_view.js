// A job: how it stands and why, its curves, what it takes, its alerts, its log.

import { clean, el, isolated, say, setAttribute } from "./dom.js";
import { clock, device, duration, mebibytes, number, ordersOf, secondsLeft, shownState } from "./format.js";
import { badge, epochBar, setBadge } from "./job_table.js";
import { Log } from "./log.js";
import { Picked } from "./picked.js";
import { store } from "./store.js";
import { View } from "./view.js";
import { causeOf, stateWord, t } from "./words.js";

/** The page of a job. */
export class JobView extends View {
  constructor(run, job) {
    const picked = new Picked(() => {});
    picked.toggle(job, true);
    super(run, job, picked);
    this.log = new Log(run, job);
    this.state = badge("pending");
    [this.bar, this.setBar] = epochBar();
    this.left = el("span");
    this.why = el("p");
    this.facts = el("dl");
    const back = el("p", {}, el("a", { href: `#/run/${encodeURIComponent(run)}` }, "← ", t("back")));
    const details = el("section", { "aria-labelledby": "details-title" }, el("h2", { id: "details-title" }, t("details")), this.facts);
    this.root = el("div", {}, back, el("h1", { id: "title", tabindex: -1 }, isolated(job)),
      el("p", { class: "now" }, this.state, this.bar, this.left), this.why, this.orders, this.log.root, this.curves.root,
      this.use.root, this.alertsRoot, details);
  }

  /** Show how things stand. */
  update() {
    const job = store.jobs.get(this.job);
    if (!job) return;
    const state = shownState(job);
    document.title = `${clean(job.name)} – ${stateWord(state)} – parallel_ml`;
    setBadge(this.state, state);
    this.setBar(job);
    const left = secondsLeft(job);
    say(this.left, left === null ? "" : t("run_left", { left: duration(left) }));
    const why = job.state === "failed" ? [job.failure && causeOf(job.failure), job.error] : [job.waiting];
    setAttribute(this.why, "class", job.state === "failed" ? "wrong" : "note");
    say(this.why, why.filter(Boolean).join(": "));
    this.offer(ordersOf(job));
    this.updateFacts(job);
    void this.curves.update();
    void this.use.update();
  }

  updateFacts(job) {
    const facts = factsOf(job).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const shown = facts.map((pair) => pair.join("\n")).join("\n");
    if (shown === this.shown) return; // a selection in it stays
    this.shown = shown;
    this.facts.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, isolated(name)), el("dd", {}, isolated(value))]));
  }

  tick() {
    void this.log.update();
    super.tick();
  }
}

function factsOf(job) {
  const metrics = Object.entries(job.metrics ?? {}).filter(([, value]) => typeof value === "number");
  return [
    [t("outcome"), job.outcome], [t("waiting"), job.waiting], [t("error"), job.error],
    [t("cause"), job.failure && causeOf(job.failure)], [t("evidence"), job.failure?.evidence], [t("advice"), job.failure?.advice],
    [t("done_about"), (job.recoveries ?? []).join("; ")], [t("attempt"), job.attempt || null], [t("device"), device(job)],
    [t("batch"), job.accumulation > 1 ? `${job.batch_size} × ${job.accumulation}` : job.batch_size], [t("seed"), job.seed],
    [t("memory"), mebibytes(job.resources?.memory_mb ?? job.resources?.memory_peak_mb)],
    [t("gpu_memory"), mebibytes(job.resources?.gpu_memory_mb ?? job.resources?.gpu_memory_peak_mb)],
    [t("started"), clock(job.started)], [t("ended"), clock(job.ended)], [t("elapsed"), duration(job.elapsed_s)],
    [t("folder"), job.paths?.dir], [t("model"), job.paths?.model],
    ...metrics.map(([name, value]) => [name, number(value)]),
  ];
}
