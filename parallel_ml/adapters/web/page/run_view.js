// A run: its state, its jobs, their curves, what they take, where their configurations differ, their alerts.

import { clean, el, fill, say } from "./dom.js";
import { clock, duration, secondsLeft } from "./format.js";
import { JobTable, badge, setBadge } from "./job_table.js";
import { Picked } from "./picked.js";
import { store } from "./store.js";
import { section, showDifferences } from "./tables.js";
import { View } from "./view.js";
import { stateWord, t } from "./words.js";

const LIVE = ["starting", "running", "stopping", "retrying", "pending", "paused"];

/** The page of a run. */
export class RunView extends View {
  constructor(run) {
    const picked = new Picked(() => this.redraw());
    super(run, null, picked);
    this.picked = picked;
    this.jobs = new JobTable(run, picked);
    [this.differencesRoot, this.differences] = section("differences-title", "differences");
    this.compared = false;
    this.name = el("h1", { id: "title", tabindex: -1 });
    this.state = badge("pending");
    this.facts = el("span");
    this.counts = el("p", { class: "counts" });
    this.notes = el("ul", { class: "notes" });
    this.root = el("div", {}, this.name, el("p", {}, this.state, " ", this.facts), this.counts, this.orders, this.notes,
      this.jobs.root, this.alertsRoot, this.curves.root, this.use.root, this.differencesRoot);
  }

  /** Show how things stand. */
  update() {
    const { run } = store;
    if (!run) return;
    say(this.name, run.name || run.run);
    document.title = `${clean(run.name || run.run)} – ${stateWord(run.state)} – parallel_ml`;
    setBadge(this.state, run.state);
    say(this.facts, [run.name && run.run, clock(run.created), leftOf()].filter(Boolean).join(" · "));
    const states = Object.entries(run.states).filter(([, count]) => count > 0);
    say(this.counts, states.map(([state, count]) => t("counts", { count, state: stateWord(state) })).join(", "));
    this.offer(ordersOf(run));
    const gone = run.supervisor === "gone" && LIVE.includes(run.state) ? [t("nobody")] : [];
    const lost = run.undelivered.map((what) => t("undelivered", { what }));
    fill(this.notes, [...gone, ...run.notes, ...lost].map((note) => el("li", {}, note)));
    this.picked.propose();
    this.jobs.update();
    void this.curves.update();
    void this.use.update();
    if (!this.compared) void this.compare(run);
  }

  redraw(missed) {
    this.jobs.update();
    super.redraw(missed);
  }

  async compare(run) {
    this.compared = true;
    try {
      await showDifferences(this.run, this.differences, run.total);
    } catch {
      this.compared = false; // with the next look at the run
    }
  }
}

/** Return what can be asked of a run. */
function ordersOf(run) {
  const has = (...states) => states.some((state) => run.states[state] > 0);
  const isGone = run.supervisor === "gone";
  return [
    has("running", "starting", "pending", "retrying", "paused") && "stop",
    has("running", "starting", "pending", "retrying") && !isGone && "pause",
    (has("paused") || (isGone && has(...LIVE))) && "resume",
    has("failed", "stopped") && "retry",
  ].filter(Boolean);
}

/** Return how long the run needs still, where its jobs tell: the longest of those that run, if nothing waits. */
function leftOf() {
  const jobs = [...store.jobs.values()];
  const lefts = jobs.map(secondsLeft).filter((left) => left !== null);
  const running = jobs.filter((job) => job.state === "running").length;
  if (!lefts.length || lefts.length < running) return "";
  const waiting = jobs.filter((job) => ["pending", "retrying", "starting"].includes(job.state)).length;
  const sum = lefts.reduce((one, other) => one + other, 0);
  const each = jobs.filter((job) => job.state === "running").map((job) => (job.epochs / job.epoch) * (job.elapsed_s ?? 0));
  const usual = each.reduce((one, other) => one + other, 0) / each.length;
  const left = waiting ? Math.max(Math.max(...lefts), (sum + waiting * usual) / running) : Math.max(...lefts);
  return t("run_left", { left: duration(Math.max(1, left)) });
}
