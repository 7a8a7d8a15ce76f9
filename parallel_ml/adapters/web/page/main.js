// The page: which run or job is shown, the list of runs, the connection, the language.

import { findToken, keepToken, request } from "./api.js";
import { at, el, fill, isolated, say, setAttribute, throttled } from "./dom.js";
import { JobView } from "./job_view.js";
import { badge, setBadge } from "./job_table.js";
import { announce, prepareDialog } from "./orders.js";
import { RunView } from "./run_view.js";
import { choose, listen, lookAgain, moreRuns, store, take, tick } from "./store.js";
import { follow } from "./stream.js";
import { language, setLanguage, stateWord, t, translate } from "./words.js";

const TICK_MS = 1000;
const TELL_MS = 4000;
const NEWS = new Set(["completed", "failed", "stopped", "paused"]);
let view = null;
let link = "wait";
let shown = null;
const items = new Map();
const changes = [];

/** Return what the address asks for: a run, maybe a job of it. */
function route() {
  const parts = location.hash.split("/");
  const part = (place) => {
    try {
      return parts[place] ? decodeURIComponent(parts[place]) : null;
    } catch {
      return null;
    }
  };
  const run = parts[1] === "run" ? part(2) : null;
  return { run: run ?? store.runs[0]?.run ?? null, job: run && parts[3] === "job" ? part(4) : null };
}

/** Show what the address asks for. */
function go({ focus = false } = {}) {
  const { run, job } = route();
  const key = JSON.stringify([run, job, language()]);
  if (key === shown) return;
  shown = key;
  choose(run);
  view = run === null ? null : job === null ? new RunView(run) : new JobView(run, job);
  at("main").replaceChildren(view ? view.root : el("p", {}, store.runs.length || link !== "live" ? t("loading") : t("no_runs")));
  showRuns();
  update();
  view?.tick();
  if (focus) {
    at("title")?.focus();
    scrollTo(0, 0);
  }
}

function update() {
  if (!view) return;
  const missing = store.problem || (store.run && view.job && !store.jobs.has(view.job) ? { message: view.job } : null);
  if (missing) at("main").replaceChildren(el("p", { class: "wrong" }, t("not_there", { why: missing.message })));
  else if (!view.root.isConnected) at("main").replaceChildren(view.root);
  view.update();
}

function showRuns() {
  const current = route().run;
  const known = new Set(store.runs.map((run) => run.run));
  for (const id of items.keys()) if (!known.has(id)) items.delete(id);
  fill(at("run-list"), store.runs.map((run) => {
    if (!items.has(run.run)) items.set(run.run, makeItem(run));
    const { root, link: anchor, name, state, count } = items.get(run.run);
    say(name, run.name || run.run);
    setBadge(state, run.state);
    say(count, `${run.states.completed ?? 0}/${run.jobs}${run.name ? ` · ${run.run}` : ""}`);
    setAttribute(anchor, "aria-current", run.run === current ? "page" : null);
    return root;
  }));
  at("more-runs").hidden = store.runs.length >= store.runsTotal;
}

function makeItem(run) {
  const name = isolated("");
  const state = badge(run.state);
  const count = el("span", { class: "count" });
  const anchor = el("a", { href: `#/run/${encodeURIComponent(run.run)}` }, name, " ", state, " ", count);
  return { root: el("li", {}, anchor), link: anchor, name, state, count };
}

function showLink(now) {
  if (now === "live" && link === "gone") announce(t("back_again"));
  link = now;
  setAttribute(at("link"), "class", `link ${now}`);
  say(at("link"), t(`link_${now}`));
}

/** Say what became of jobs, now and then and in one sentence: a night has thousands of such news. */
const tellChanges = throttled(() => {
  const told = changes.splice(0);
  if (told.length === 1) say(at("heard"), t("told", { job: told[0].name, state: stateWord(told[0].state) }));
  else if (told.length) {
    const counts = new Map();
    for (const { state } of told) counts.set(state, (counts.get(state) ?? 0) + 1);
    const words = [...counts].map(([state, count]) => t("counts", { count, state: stateWord(state) })).join(", ");
    say(at("heard"), t("told_many", { count: told.length, counts: words }));
  }
}, TELL_MS);

const updateSoon = throttled(update, 400);

function hear(what, data) {
  if (what === "runs") {
    showRuns();
    go();
  } else if (what === "epoch") {
    view?.epoch(data);
    updateSoon();
  } else if (what === "state") {
    view?.changed(data.job);
    if (NEWS.has(data.job.state)) {
      changes.push({ name: data.job.name, state: data.job.state });
      tellChanges();
    }
    updateSoon();
  } else update();
}

/** Ask for the token, and begin when there is one. */
function askToken(why) {
  at("rooms").hidden = true;
  at("door").hidden = false;
  say(at("door-why"), why);
  at("token").focus();
}

async function begin() {
  try {
    await request("/api/v1/runs?limit=1");
  } catch (problem) {
    if (problem.status === 401) {
      keepToken(null);
      askToken(t("door_wrong"));
      return;
    }
  }
  at("door").hidden = true;
  at("rooms").hidden = false;
  go();
  showLink("wait");
  void follow({
    message: take,
    state: (now) => (now === "denied" ? askToken(t("door_wrong")) : showLink(now)),
    anew: () => {
      view?.redraw(true);
      lookAgain();
    },
  });
}

function enter() {
  const given = at("token").value.trim();
  at("token").value = "";
  if (!given) return;
  keepToken(given);
  void begin();
}

function prepare() {
  at("language").value = language();
  at("language").addEventListener("change", () => {
    setLanguage(at("language").value);
    translate(document);
    showLink(link);
    items.clear();
    go();
  });
  at("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the route
    at("main").focus();
  });
  at("enter").addEventListener("click", enter);
  at("token").addEventListener("keydown", (event) => event.key === "Enter" && enter());
  at("more-runs").addEventListener("click", moreRuns);
  addEventListener("hashchange", () => {
    if (!findToken()) return;
    if (at("rooms").hidden) void begin();
    else go({ focus: true });
  });
  document.addEventListener("visibilitychange", () => document.hidden || lookAgain());
  addEventListener("resize", throttled(() => view?.resized(), 200));
  prepareDialog();
}

translate(document);
prepare();
listen(hear);
setInterval(() => {
  if (at("rooms").hidden || document.hidden) return;
  void tick();
  view?.tick();
}, TICK_MS);
if (findToken()) void begin();
else askToken("");
