// News as they happen: server-sent events by fetch (an EventSource cannot send the token), taken up where they broke off.

import { Problem, request } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const SILENCE_MS = 40000; // the server says something every 15 s
const LONGEST_BUFFER = 4 << 20;

/**
 * Follow all runs, for ever.
 * @param {{message: Function, state: Function, anew: Function}} hear - `message` takes one message, `state` takes
 *   "live", "gone" or "denied", `anew` is called where news may have been missed.
 */
export async function follow(hear) {
  let last = null;
  let wait_ms = FIRST_WAIT_MS;
  const heard = (id, message) => {
    last = id || last;
    wait_ms = FIRST_WAIT_MS;
    hear.message(message);
  };
  const opened = () => {
    hear.state("live");
    hear.anew();
  };
  for (;;) {
    try {
      await listen(last, opened, heard);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        hear.state("denied");
        return;
      }
      if (error instanceof Problem && [404, 409, 422].includes(error.status)) last = null; // begin anew
    }
    hear.state("gone");
    await new Promise((done) => setTimeout(done, wait_ms * (0.8 + 0.4 * Math.random())));
    wait_ms = Math.min(2 * wait_ms, LONGEST_WAIT_MS);
  }
}

async function listen(last, opened, heard) {
  const leaving = new AbortController();
  let timer = setTimeout(() => leaving.abort(), SILENCE_MS);
  try {
    const headers = last === null ? {} : { "Last-Event-ID": last };
    const response = await request("/api/v1/events", { headers, signal: leaving.signal });
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => leaving.abort(), SILENCE_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      if (rest.length > LONGEST_BUFFER) throw new Error("a message without an end");
      for (const block of blocks) tell(block, heard);
    }
  } finally {
    clearTimeout(timer);
    leaving.abort();
  }
}

function tell(block, heard) {
  let id = "";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("id:")) id = line.slice(3).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5));
  }
  if (!data.length) return;
  let message;
  try {
    message = JSON.parse(data.join("\n"));
  } catch {
    return;
  }
  if (message !== null && typeof message === "object") heard(id, message);
}
