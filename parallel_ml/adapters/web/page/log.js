// What a job prints: its last lines, and those that come.

import { get, runPath } from "./api.js";
import { el, say } from "./dom.js";
import { clock } from "./format.js";
import { t } from "./words.js";

const MOST_LINES = 1000;
const EVERY_MS = 900;
const QUIET_MS = 5000;

/** The log of a job. */
export class Log {
  constructor(run, job) {
    this.path = runPath(run, "jobs", job, "logs");
    this.place = null;
    this.due = 0;
    this.busy = false;
    const label = t("log_of", { job, most: MOST_LINES });
    this.lines = el("div", { class: "log", role: "region", tabindex: 0, "aria-label": label });
    this.none = el("p", {}, t("no_log"));
    this.box = el("input", { type: "checkbox", id: "follow" });
    this.box.checked = true;
    this.box.addEventListener("change", () => this.toEnd());
    this.lines.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.root = el("section", { "aria-labelledby": "log-title" }, el("h2", { id: "log-title" }, t("log")),
      el("p", { class: "tools" }, this.box, el("label", { for: "follow" }, t("follow"))), this.none, this.lines);
  }

  /** Read what is new, now and then. */
  async update() {
    if (this.busy || performance.now() < this.due) return;
    this.busy = true;
    let told = null;
    try {
      told = await get(`${this.path}?${this.place === null ? `tail=${MOST_LINES}` : `after=${encodeURIComponent(this.place)}`}`);
      this.place = told.next;
      this.add(told.lines);
    } catch (problem) {
      if (problem.status === 422) this.place = null; // the log is another one now
    } finally {
      this.busy = false;
      this.due = performance.now() + (told?.more ? 0 : told?.lines.length ? EVERY_MS : QUIET_MS);
    }
  }

  add(records) {
    if (!records.length) return;
    const some = records.slice(-MOST_LINES).map(lineOf);
    const over = this.lines.childElementCount + some.length - MOST_LINES;
    for (let count = 0; count < over; count += 1) this.lines.firstElementChild.remove();
    this.lines.append(...some);
    this.none.hidden = true;
    this.toEnd();
  }

  toEnd() {
    if (this.box.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }

  /** Somebody who scrolls back wants to read: nothing moves until they are at the end again. */
  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.lines;
    this.box.checked = scrollHeight - scrollTop - clientHeight < 8;
  }
}

function lineOf(record) {
  const kind = record.type === "stderr" || record.type === "system" ? record.type : null;
  const line = el("div", { class: `entry ${kind ?? ""}`, title: clock(record.timestamp) });
  if (kind) line.append(el("span", { class: "kind" }, t(kind)), " ");
  const text = el("bdi");
  say(text, record.message ?? "");
  line.append(text);
  return line;
}
