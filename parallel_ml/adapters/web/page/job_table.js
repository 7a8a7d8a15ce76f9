// The table of a run's jobs: filtered, sorted, fifty rows at a time; a row stays the same element while it is shown.

import { button, el, fill, isolated, say, setAttribute, throttled } from "./dom.js";
import { ACCURACIES, LOSSES, duration, firstKnown, mebibytes, number, ordersOf, secondsLeft, shownState } from "./format.js";
import { showOrders } from "./orders.js";
import { store } from "./store.js";
import { stateWord, t } from "./words.js";

const ROWS = 50;
const REST = new Set(["pending", "completed", "stopped"]);
const COLUMNS = [
  { key: "job", value: (job) => job.name },
  { key: "state", value: (job) => shownState(job) },
  { key: "epoch", value: (job) => job.epoch },
  { key: "left", value: secondsLeft, show: duration, kind: "left" },
  { key: "loss", value: (job) => firstKnown(job.metrics, LOSSES), show: number, kind: "number" },
  { key: "accuracy", value: (job) => firstKnown(job.metrics, ACCURACIES), show: number, kind: "number" },
  { key: "pace", value: (job) => job.metrics?.time_per_epoch, show: duration, kind: "number wide" },
  { key: "memory", value: (job) => use(job, "memory"), show: mebibytes, kind: "number wide" },
  { key: "gpu_memory", value: (job) => use(job, "gpu_memory"), show: mebibytes, kind: "number broad" },
];

const use = (job, what) => job.resources?.[`${what}_mb`] ?? job.resources?.[`${what}_peak_mb`];

/** Return a badge of a state: a sign and a word, so that the colour says nothing alone. */
export function badge(state) {
  const made = el("span");
  setBadge(made, state);
  return made;
}

/** Let a badge show a state. */
export function setBadge(element, state) {
  const known = /^[a-z]+$/.test(state) ? state : "unknown";
  setAttribute(element, "class", `state ${known}`);
  say(element, stateWord(state));
}

/** Return a bar of a job's epochs, with its setter. */
export function epochBar() {
  const bar = el("progress", { max: 1, value: 0, hidden: true });
  const text = el("span", { class: "number" });
  const root = el("span", { class: "epochs" }, bar, text);
  return [root, (job) => {
    const total = Number(job.epochs) || 0;
    bar.hidden = !(total > 0) || job.epoch === null;
    if (total > 0) {
      setAttribute(bar, "max", total);
      setAttribute(bar, "value", Math.min(total, Math.max(0, Number(job.epoch) || 0)));
      setAttribute(bar, "aria-label", `${t("epoch")} ${job.name}`);
    }
    say(text, job.epoch === null && job.state === "pending" ? "" : total ? `${job.epoch ?? 0}/${total}` : job.epoch ?? "");
  }];
}

/** The table of the chosen run; `picked` knows which jobs are drawn. */
export class JobTable {
  constructor(run, picked) {
    this.run = run;
    this.picked = picked;
    this.rows = new Map();
    this.sort = { key: null, down: false };
    this.first = 0;
    this.states = el("select", { id: "state-filter" });
    this.find = el("input", { id: "find", type: "search" });
    this.body = el("tbody", { role: "rowgroup" }); // roles: on a phone its rows are no table rows to the browser
    this.heads = COLUMNS.map((column) => this.head(column));
    this.where = el("span", { class: "number" });
    this.before = button(t("previous"), () => this.turn(-ROWS));
    this.after = button(t("next"), () => this.turn(ROWS));
    this.pager = el("nav", { class: "pager", "aria-label": t("pages") }, this.before, this.where, this.after);
    this.root = this.build();
    this.states.addEventListener("change", () => this.turn(0));
    this.find.addEventListener("input", throttled(() => this.turn(0), 200));
  }

  build() {
    const drawn = el("th", { scope: "col" }, t("drawn"));
    const table = el("table", { class: "jobs", role: "table" }, el("caption", { class: "unseen" }, t("jobs")),
      el("thead", {}, el("tr", { role: "row" }, drawn, this.heads, el("th", { scope: "col" }, t("actions")))), this.body);
    const tools = el("p", { class: "tools" }, el("label", { for: "state-filter" }, t("state")), this.states,
      el("label", { for: "find" }, t("find")), this.find);
    return el("section", { "aria-labelledby": "jobs-title" }, el("h2", { id: "jobs-title" }, t("jobs")), tools,
      el("div", { class: "scroll" }, table), this.pager);
  }

  head(column) {
    const sort = button(t(column.key), () => this.sortBy(column.key), { class: "sort" });
    return el("th", { scope: "col", class: column.kind }, sort);
  }

  sortBy(key) {
    const { key: before, down } = this.sort;
    this.sort = before !== key ? { key, down: false } : down ? { key: null, down: false } : { key, down: true };
    this.turn(0);
  }

  /** Go on by so many rows; 0 is to the beginning. */
  turn(by) {
    this.first = by ? this.first + by : 0;
    this.update();
  }

  /** Return the jobs that fit what is asked for, in order. */
  fitting() {
    const text = this.find.value.toLowerCase();
    const state = this.states.value;
    const found = [...store.jobs.values()].filter(
      (job) => (!state || job.state === state) && (!text || job.name.toLowerCase().includes(text)));
    const column = COLUMNS.find((one) => one.key === this.sort.key);
    if (!column) return found;
    const sign = this.sort.down ? -1 : 1;
    const keyed = found.map((job) => [column.value(job), job]);
    return keyed.sort(([one], [other]) => sign * compared(one, other, sign)).map(([, job]) => job);
  }

  /** Show how things stand. */
  update() {
    this.updateStates();
    const found = this.fitting();
    this.first = Math.max(0, Math.min(this.first, Math.floor((found.length - 1) / ROWS) * ROWS));
    const shown = found.slice(this.first, this.first + ROWS);
    const rows = shown.map((job) => this.row(job));
    const kept = new Set(shown.map((job) => job.name));
    for (const name of this.rows.keys()) if (!kept.has(name)) this.rows.delete(name);
    fill(this.body, rows.length ? rows : [el("tr", {}, el("td", { class: "none" }, t("no_jobs")))]);
    this.updatePager(found.length, shown.length);
    COLUMNS.forEach((column, place) => {
      const sorted = column.key === this.sort.key ? (this.sort.down ? "descending" : "ascending") : null;
      setAttribute(this.heads[place], "aria-sort", sorted);
    });
  }

  updatePager(total, shown) {
    this.pager.hidden = total <= ROWS;
    this.before.disabled = this.first === 0;
    this.after.disabled = this.first + ROWS >= total;
    say(this.where, t("page_of", { first: Math.min(total, this.first + 1), last: this.first + shown, total }));
  }

  updateStates() {
    const counts = Object.entries(store.run?.states ?? {}).filter(([, count]) => count > 0);
    const chosen = this.states.value;
    const options = ["", ...counts.map(([state]) => state)];
    if (chosen && !options.includes(chosen)) options.push(chosen);
    if ([...this.states.options].map((one) => one.value).join() !== options.join()) {
      this.states.replaceChildren(...options.map((state) => el("option", { value: state })));
      this.states.value = chosen;
    }
    const known = Object.fromEntries(counts);
    for (const one of this.states.options) {
      say(one, one.value ? t("counts", { count: known[one.value] ?? 0, state: stateWord(one.value) }) : t("all_states"));
    }
  }

  row(job) {
    let row = this.rows.get(job.name);
    if (!row) this.rows.set(job.name, (row = this.makeRow(job)));
    row.set(job);
    return row.element;
  }

  makeRow(job) {
    const box = el("input", { type: "checkbox", "aria-label": t("draw", { job: job.name }) });
    box.addEventListener("change", () => this.picked.toggle(job.name, box.checked));
    const link = el("a", { href: jobHref(this.run, job.name) }, isolated(job.name));
    const state = el("span");
    const [bar, setBar] = epochBar();
    const plain = COLUMNS.slice(3).map((column) => el("td", { role: "cell", class: column.kind, "data-label": t(column.key) }));
    const actions = el("td", { class: "actions", role: "cell" });
    const element = el("tr", { role: "row" }, el("td", { class: "pick", role: "cell" }, box),
      el("th", { class: "job", role: "rowheader", scope: "row" }, link), el("td", { class: "mood", role: "cell" }, state),
      el("td", { class: "bar", role: "cell" }, bar), plain, actions);
    const set = (now) => {
      box.checked = this.picked.has(now.name);
      setBadge(state, shownState(now));
      setBar(now);
      COLUMNS.slice(3).forEach((column, place) => say(plain[place], column.show(column.value(now))));
      showOrders(actions, ordersOf(now), this.run, now.name);
    };
    return { element, set };
  }
}

/** Return the address of a job's page. */
export const jobHref = (run, job) => `#/run/${encodeURIComponent(run)}/job/${encodeURIComponent(job)}`;

/** Return jobs whose curves are worth drawing first: those that run, then those that ended. */
export function worthDrawing(jobs) {
  const known = jobs.filter((job) => job.epoch !== null);
  return [...known.filter((job) => !REST.has(job.state)), ...known.filter((job) => REST.has(job.state))];
}

/** Compare two values; what is not known comes last either way. */
function compared(one, other, sign) {
  const unknown = (value) => value === null || value === undefined || Number.isNaN(value);
  if (unknown(one) || unknown(other)) return sign * (unknown(one) - unknown(other));
  if (typeof one === "string") return one.localeCompare(other, undefined, { numeric: true });
  return one - other;
}
