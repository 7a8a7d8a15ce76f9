// Numbers, times and what can be said of a job, for people.

/** Whether a value is a number that can be drawn. */
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Return a metric's value, "" where it is not known. */
export function number(value) {
  if (!isNumber(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** Return seconds in the two largest units. */
export function duration(seconds) {
  if (!isNumber(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => whole >= size);
  if (first < 0) return isNumber(seconds) && seconds > 0 ? `${number(Number(seconds.toFixed(2)))} s` : "0 s";
  if (whole < 10 && seconds !== whole) return `${Number(seconds.toFixed(1))} s`;
  let rest = whole;
  return units.slice(first, first + 2).map(([size, unit]) => {
    const count = Math.floor(rest / size);
    rest %= size;
    return count ? `${count} ${unit}` : "";
  }).filter(Boolean).join(" ");
}

/** Return MiB as text. */
export function mebibytes(value) {
  if (!isNumber(value)) return "";
  return value >= 1024 ? `${number(Number((value / 1024).toPrecision(3)))} GiB` : `${Math.round(value)} MiB`;
}

/** Return a moment in the reader's own time zone. */
export function clock(text) {
  const when = new Date(text ?? "");
  if (Number.isNaN(when.getTime())) return "";
  const two = (value) => String(value).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

/** Return the first metric of several that is known, or null. */
export function firstKnown(metrics, names) {
  const name = names.find((one) => isNumber(metrics?.[one]));
  return name === undefined ? null : metrics[name];
}

export const LOSSES = ["val_loss", "train_loss", "loss"];
export const ACCURACIES = ["val_accuracy", "train_accuracy", "accuracy", "val_acc", "acc"];

/** Return how many seconds a running job needs still, by the pace of its last epoch, else of all; null if not known. */
export function secondsLeft(job) {
  if (job.state !== "running" || !job.epoch || !job.epochs || job.epoch >= job.epochs) return null;
  const own = job.metrics?.time_per_epoch;
  const pace = isNumber(own) ? own : isNumber(job.elapsed_s) ? job.elapsed_s / job.epoch : null;
  return pace === null ? null : (job.epochs - job.epoch) * pace;
}

/** Return where a job is, or was, in short. */
export function device(job) {
  const held = job.allocation;
  if (!held) return "";
  return held.gpu_index === null || held.gpu_index === undefined ? "CPU" : `GPU ${held.gpu_index}`;
}

/** Return the state as it is shown: what a pause makes of it included. */
export function shownState(job) {
  if (job.pausing) return "pausing";
  return job.held && job.state === "paused" ? "held" : job.state;
}

/** Return what can be asked of a job. */
export function ordersOf(job) {
  if (job.pausing) return ["stop"];
  switch (job.state) {
    case "running": return ["stop", "pause"];
    case "starting": case "pending": case "retrying": return ["stop"];
    case "paused": return ["stop", "resume"];
    case "failed": case "stopped": return ["retry"];
    default: return [];
  }
}
