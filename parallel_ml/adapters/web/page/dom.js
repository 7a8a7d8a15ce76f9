// Elements without markup: what a job wrote is text, whatever it looks like.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "path", "line", "text", "g", "circle"]);
const ALLOWED = new Set(("aria-current aria-describedby aria-hidden aria-label aria-labelledby aria-pressed aria-sort " +
  "class cx cy d data-label dir for height hidden href id lang max r role scope span tabindex text-anchor title type " +
  "value viewBox width x x1 x2 y y1 y2").split(" "));
const SEQUENCES = /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\x9c]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]/g;
const SPACES = /[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+/g;
// Controls, and marks that make text read as something else than it is.
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]/g;
const LONGEST = 10000;

/** Return text in one line that shows what it holds. */
export function clean(value) {
  const text = String(value ?? "");
  const cut = text.length > LONGEST ? text.slice(0, LONGEST) + "…" : text;
  return cut.replace(SEQUENCES, "").replace(SPACES, " ").replace(UNSAFE, "\ufffd");
}

/** Return the element of the page with an id. */
export const at = (id) => document.getElementById(id);

/** Return a new element; attributes that could run or load something are refused. */
export function el(tag, attributes = {}, ...children) {
  const made = SHAPES.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) setAttribute(made, name, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) made.append(child instanceof Node ? child : clean(child));
  }
  return made;
}

/** Set an attribute, or take it away with null. */
export function setAttribute(element, name, value) {
  if (!ALLOWED.has(name) || (name === "href" && !String(value).startsWith("#"))) throw new Error(`not allowed: ${name}`);
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : clean(value));
}

/** Show a text, and touch nothing where it is shown already. */
export function say(element, value) {
  const text = clean(value);
  if (element.textContent !== text) element.textContent = text;
}

/** Return a button that does something. */
export function button(label, act, attributes = {}) {
  const made = el("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", act);
  return made;
}

/** Put elements in place of what is there, and leave the focus where it is if its element stays. */
export function fill(parent, children) {
  const there = [...parent.children];
  if (there.length === children.length && there.every((child, place) => child === children[place])) return;
  const focused = document.activeElement;
  parent.replaceChildren(...children);
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** Return a name as an element of its own: its direction does not leak into what stands around it. */
export const isolated = (text) => el("bdi", {}, text);

/** Return a function that calls `act` later, once, however often it was called meanwhile. */
export function throttled(act, wait_ms) {
  let timer = null;
  let last = -Infinity;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      last = performance.now();
      act();
    }, Math.max(0, wait_ms - (performance.now() - last)));
  };
}
