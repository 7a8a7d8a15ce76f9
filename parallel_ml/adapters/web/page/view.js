// What the pages of a run and of a job have in common: curves, use of the machine, alerts.

import { Curves } from "./curves.js";
import { el } from "./dom.js";
import { showOrders } from "./orders.js";
import { isOver, store } from "./store.js";
import { section, showAlerts } from "./tables.js";
import { Use } from "./use.js";

const ALERTS_MS = 10000;
const QUIET_ALERTS_MS = 60000;

/** A page of a run, or of a job where that is not null. */
export class View {
  constructor(run, job, picked) {
    this.run = run;
    this.job = job;
    this.curves = new Curves(run, picked);
    this.use = new Use(run, picked);
    [this.alertsRoot, this.alerts] = section("alerts-title", "alerts");
    this.alertsDue = 0;
    this.orders = el("p", { class: "buttons" });
  }

  /** Take in a message about an epoch. */
  epoch(message) {
    this.curves.epoch(message);
  }

  /** Take in that a job is in another state: one that begins again may tell other epochs. */
  changed(job) {
    if (job.state === "starting") this.curves.forget(job.name);
  }

  /** Offer what can be asked for. */
  offer(possible) {
    showOrders(this.orders, possible, this.run, this.job);
  }

  /** Look at what is not told by the stream. */
  tick() {
    void this.use.update();
    if (performance.now() < this.alertsDue) return;
    this.alertsDue = performance.now() + (store.run && isOver(store.run) ? QUIET_ALERTS_MS : ALERTS_MS);
    showAlerts(this.run, this.job, this.alerts).catch(() => {}); // asked for again
  }

  /** Draw anew what was picked; all of it is read again where news were missed. */
  redraw(missed = false) {
    if (missed) this.curves.forget();
    void this.curves.update();
    void this.use.update(true);
  }

  /** Fit the charts into a window of another size. */
  resized() {
    this.curves.draw();
    this.use.draw();
  }
}
