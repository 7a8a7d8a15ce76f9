// Stop, pause, resume, retry: asked for in a dialog, sent, and what came of it said.

import { post, runPath } from "./api.js";
import { at, button, say } from "./dom.js";
import { lookAgain } from "./store.js";
import { t } from "./words.js";

const CHOICES = { stop: ["stop_now", "now"], pause: ["pause_freeze", "freeze"] };
const SHOWN_MS = 12000;
let asked = null;
let timer = null;

/** Say something to everybody: it is shown for a while, and read out when the reader is silent. */
export function announce(text) {
  clearTimeout(timer);
  say(at("said"), text);
  timer = setTimeout(() => say(at("said"), ""), SHOWN_MS);
}

/** Show the buttons of what can be asked of a job, or of the run; the focus stays where it was, or near. */
export function showOrders(holder, verbs, run, job) {
  if (holder.dataset.verbs === verbs.join()) return;
  holder.dataset.verbs = verbs.join();
  const isFocused = holder.contains(document.activeElement);
  holder.replaceChildren(...verbs.map((verb) => button(t(verb), () => ask(verb, run, job), { "aria-label": named(verb, job) })));
  if (isFocused) (holder.querySelector("button") ?? at("title"))?.focus({ preventScroll: true });
}

const named = (verb, job) => (job === null ? t("order_run", { verb: t(verb) }) : t("order_job", { verb: t(verb), job }));

/** Make the dialog work. */
export function prepareDialog() {
  at("confirm-no").addEventListener("click", () => at("confirm").close());
  at("confirm").addEventListener("close", () => { // the button that asked may be gone
    if (document.activeElement === document.body) at("title")?.focus({ preventScroll: true });
  });
  at("confirm-yes").addEventListener("click", () => {
    const order = asked;
    const isChosen = at("confirm-box").checked;
    at("confirm").close();
    if (order) void send(order, isChosen);
  });
}

function ask(verb, run, job) {
  asked = { verb, run, job };
  say(at("confirm-title"), named(verb, job));
  say(at("confirm-text"), t(`why_${verb}`));
  say(at("confirm-yes"), t(verb));
  at("confirm-box").checked = false;
  at("confirm-choice").hidden = !(verb in CHOICES);
  if (verb in CHOICES) say(at("confirm-label"), t(CHOICES[verb][0]));
  at("confirm").showModal();
  at("confirm-no").focus(); // Enter by mistake does nothing
}

async function send({ verb, run, job }, isChosen) {
  const what = named(verb, job);
  const body = job === null ? {} : { job };
  if (isChosen && verb in CHOICES) body[CHOICES[verb][1]] = true;
  try {
    const told = await post(runPath(run, verb), body);
    announce(t(told.state === "done" ? "order_done" : "order_waiting", { what }));
  } catch (problem) {
    announce(t("order_failed", { what, why: problem.status ? problem.message : t("link_gone") }));
  }
  lookAgain();
}
