// What the page knows of the runs: read at first, told of by the stream, read again now and then.

import { get, runPath } from "./api.js";

const PAGE = 1000;
const MOST_JOBS = 10000;
const RUNS_AT_ONCE = 50;
const OVER = new Set(["completed", "failed", "stopped", "unreadable"]);
const LEAST_WAIT_MS = 1500;
const QUIET_WAIT_MS = 5000;
const COST_FACTOR = 8; // reading takes at most an eighth of the time

export const store = { runs: [], runsTotal: 0, runsWanted: RUNS_AT_ONCE, run: null, jobs: new Map(), problem: null };
const listeners = new Set();
const looks = { runs: { due: 0, busy: false }, run: { due: 0, busy: false } };
let wanted = null;
let generation = 0;

/** Call `act(what, data)` when something has changed: "runs", "run", "state" or "epoch". */
export const listen = (act) => listeners.add(act);
const tell = (what, data) => listeners.forEach((act) => act(what, data));

/** Whether nothing more happens to a run by itself. */
export const isOver = (run) => OVER.has(run.state) && run.supervisor === "gone";

/** Look at another run; null at none. */
export function choose(run) {
  if (run === wanted) return;
  wanted = run;
  generation += 1;
  store.run = null;
  store.jobs = new Map();
  store.problem = null;
  looks.run = { due: 0, busy: false };
  void tick();
}

/** Read everything again as soon as possible. */
export function lookAgain() {
  looks.runs.due = looks.run.due = 0;
  void tick();
}

/** Show more runs. */
export function moreRuns() {
  store.runsWanted += RUNS_AT_ONCE;
  looks.runs.due = 0;
  void tick();
}

/** Take in a message of the stream. */
export function take(message) {
  const { type, run, job: name } = message;
  if (type === "hello") return;
  if (type !== "epoch_progress" || !store.runs.some((one) => one.run === run)) hurry(looks.runs);
  if (run !== wanted || store.run === null) return;
  const job = store.jobs.get(name);
  if (type === "epoch_progress") {
    if (job === undefined) return;
    job.epoch = message.epoch ?? job.epoch;
    job.epochs = message.epochs ?? job.epochs;
    job.metrics = { ...job.metrics, ...message.metrics };
    tell("epoch", message);
    return;
  }
  hurry(looks.run);
  if (type === "job_state" && job !== undefined) {
    const before = job.state;
    job.state = message.state;
    job.attempt = message.attempt ?? job.attempt;
    if (before !== job.state) count(before, job.state);
    tell("state", { job, before });
  }
}

function count(before, after) {
  const states = store.run.states;
  states[before] = Math.max(0, (states[before] ?? 0) - 1);
  states[after] = (states[after] ?? 0) + 1;
}

function hurry(look) {
  look.due = Math.min(look.due, performance.now() + (look.least ?? LEAST_WAIT_MS));
}

/** Read what is due; a page that nobody sees reads nothing. */
export async function tick() {
  if (document.hidden) return;
  await Promise.all([
    when(looks.runs, readRuns, () => 2 * QUIET_WAIT_MS),
    wanted && when(looks.run, readRun, () => (store.run && isOver(store.run) ? 6 : 1) * QUIET_WAIT_MS),
  ]);
}

async function when(look, read, wait_ms) {
  if (look.busy || performance.now() < look.due) return;
  look.busy = true;
  const began = performance.now();
  look.due = Infinity;
  try {
    await read();
  } finally {
    look.busy = false;
    const now = performance.now();
    look.least = Math.max(LEAST_WAIT_MS, COST_FACTOR * (now - began));
    look.due = look.due === Infinity ? now + Math.max(wait_ms(), look.least) : Math.max(look.due, now + look.least);
  }
}

async function readRuns() {
  try {
    const told = await get(`/api/v1/runs?limit=${store.runsWanted}`);
    store.runs = told.runs;
    store.runsTotal = told.total;
    tell("runs");
  } catch {
    // the stream says that the server is gone, and asks for all of it when it is back
  }
}

async function readRun() {
  const asked = generation;
  try {
    const told = await readJobs(wanted);
    if (asked !== generation) return;
    const before = store.jobs;
    store.jobs = new Map(told.jobs.map((job) => [job.name, newer(before.get(job.name), job)]));
    store.run = { ...told, jobs: undefined };
    store.problem = null;
  } catch (problem) {
    if (asked !== generation || problem.status === 0) return;
    store.problem = problem;
  }
  tell("run");
}

async function readJobs(run) {
  const told = await get(`${runPath(run)}?limit=${PAGE}`);
  while (told.jobs.length < Math.min(told.total, MOST_JOBS)) {
    const more = await get(`${runPath(run)}?limit=${PAGE}&offset=${told.jobs.length}`);
    if (!more.jobs.length) break;
    told.jobs.push(...more.jobs);
  }
  return told;
}

/** Return a job as it was read, with the epoch that the stream told meanwhile. */
function newer(before, job) {
  const isAhead = before && before.attempt === job.attempt && before.state === job.state && before.epoch > job.epoch;
  return isAhead ? { ...job, epoch: before.epoch, epochs: before.epochs, metrics: before.metrics } : job;
}
