// Two small tables: in which keys the configurations differ, and how the alerts stand.

import { get, runPath } from "./api.js";
import { el, isolated } from "./dom.js";
import { t } from "./words.js";

const MOST_ALERTS = 100;

/** Return a section and a function that fills it. */
export function section(id, title) {
  const body = el("div");
  const root = el("section", { "aria-labelledby": id }, el("h2", { id }, t(title)), body);
  return [root, (...children) => body.replaceChildren(...children)];
}

/** Return a table that scrolls by itself where it is wide; the first cell of a row names it. */
export function table(label, heads, rows) {
  const head = el("tr", {}, heads.map((one) => el("th", { scope: "col" }, isolated(one))));
  const body = rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((one) => el("td", {}, one))));
  const made = el("table", {}, el("caption", { class: "unseen" }, label), el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll tall", role: "region", tabindex: 0, "aria-label": label }, made);
}

/** Read and show what differs between the configurations of a run. */
export async function showDifferences(run, show, total) {
  const { jobs, keys } = await get(runPath(run, "differences"));
  if (!keys.length) {
    show(el("p", {}, t("nothing_differs")));
    return;
  }
  const rows = jobs.map((job, place) => [isolated(job), ...keys.map(({ values }) => isolated(values[place] ?? ""))]);
  const some = jobs.length < total ? el("p", { class: "note" }, t("first_compared", { count: jobs.length })) : null;
  show(...[some, table(t("differences"), [t("job"), ...keys.map(({ key }) => key)], rows)].filter(Boolean));
}

/** Read and show the alerts of a run that fire or have fired. */
export async function showAlerts(run, job, show) {
  const path = job === null ? runPath(run, "alerts") : runPath(run, "jobs", job, "alerts");
  const told = (await get(path)).alerts;
  const rules = job === null ? told : Object.entries(told).map(([rule, state]) => ({ job, rule, ...state }));
  const seen = rules.filter((one) => one.status !== "inactive" || one.episode > 0);
  const more = seen.splice(MOST_ALERTS).length;
  const heads = [...(job === null ? ["job"] : []), "rule", "state", "condition", "times", "last_epoch"].map((key) => t(key));
  const rows = seen.map((one) => [
    ...(job === null ? [isolated(one.job)] : []), isolated(one.rule), statusOf(one.status), isolated(one.expr ?? ""),
    String(one.episode ?? ""), String(one.true_epoch || ""),
  ]);
  const note = more ? [el("p", { class: "note" }, t("more_alerts", { count: more }))] : [];
  show(rows.length ? table(t("alerts"), heads, rows) : el("p", {}, t("no_alerts")), ...note);
}

function statusOf(status) {
  const known = ["firing", "pending", "inactive"].includes(status);
  return el("span", { class: `state ${status === "firing" ? "failed" : "stopped"}` }, known ? t(`status_${status}`) : status);
}
