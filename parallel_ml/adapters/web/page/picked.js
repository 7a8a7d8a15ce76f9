// Which jobs are drawn: the first that are worth it, until somebody picks. A job keeps its colour and number.

import { worthDrawing } from "./job_table.js";
import { announce } from "./orders.js";
import { store } from "./store.js";
import { t } from "./words.js";

export const MOST = 10;
const FIRST = 6;

/** The jobs that are drawn, each at a place of its own. */
export class Picked {
  constructor(changed) {
    this.places = new Array(MOST).fill(null);
    this.byHand = false;
    this.order = [];
    this.changed = changed;
  }

  /** Whether a job is drawn. */
  has(name) {
    return this.places.includes(name);
  }

  /** Return [place, name] of each. */
  entries() {
    return [...this.places.entries()].filter(([, name]) => name !== null);
  }

  /** Draw a job, or do not any more; where they are too many, the one that was picked first goes. */
  toggle(name, isDrawn) {
    this.byHand = true;
    if (!isDrawn) this.drop(name);
    else if (!this.has(name)) {
      if (this.order.length >= MOST) {
        const out = this.order[0];
        this.drop(out);
        announce(t("most_drawn", { count: MOST, job: out }));
      }
      this.add(name);
    }
    this.changed();
  }

  /** Draw the first few by itself. */
  propose() {
    if (this.byHand || this.order.length >= FIRST) return;
    const before = this.order.length;
    for (const job of worthDrawing([...store.jobs.values()])) {
      if (this.order.length >= FIRST) break;
      if (!this.has(job.name)) this.add(job.name);
    }
    if (this.order.length !== before) this.changed();
  }

  add(name) {
    this.places[this.places.indexOf(null)] = name;
    this.order.push(name);
  }

  drop(name) {
    const place = this.places.indexOf(name);
    if (place >= 0) this.places[place] = null;
    this.order = this.order.filter((one) => one !== name);
  }
}
