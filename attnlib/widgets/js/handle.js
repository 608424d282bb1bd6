// What is dragged: one gesture for mouse, finger and keyboard, whatever it moves on.

import { svg, write } from "./dom.js";

/** Of handles that lie over each other the one nearest to the pointer, and of those that are alike the first. */
function meant({ clientX, clientY }) {
  const away = (node) => {
    const box = node.querySelector(".attnlib-target").getBoundingClientRect();
    return Math.hypot(box.left + box.width / 2 - clientX, box.top + box.height / 2 - clientY);
  };
  const all = document.elementsFromPoint(clientX, clientY).flatMap((node) => node.closest(".attnlib-point") ?? []);
  return all.reduce((best, node) => (away(node) < away(best) + 0.5 ? node : best)); // the topmost comes last in the page
}

/**
 * A handle whose place is a list of numbers. `mark` is the SVG drawn at (0, 0); `at(event)` is the place under a pointer;
 * `moves(place, step)` says where each key leads (`step` is 0.1, with Shift 0.5); `hold(place)` keeps a place in bounds;
 * onMove(place) and onFocus() tell. `update(place, {x, y, label, words, now, min, max})` puts it at a pixel and says it.
 */
export function handle({ mark = svg("g"), at, moves, hold, onMove, onFocus = () => {} }) {
  const ring = svg("circle", { class: "attnlib-ring", r: 17 });
  const target = svg("circle", { class: "attnlib-target", r: 22 });
  const node = svg("g", { class: "attnlib-point", tabindex: 0, role: "slider" }, target, ring, mark);
  let place = [];
  let grip = null;
  function move(next) {
    place = hold(next).map((value) => Number(value.toFixed(3))); // the next key may come before the next frame
    onMove(place);
  }
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    const own = meant(event);
    if (own !== node) return own.dispatchEvent(new PointerEvent(event.type, event));
    node.focus({ preventScroll: true });
    node.setPointerCapture(event.pointerId);
    const here = at(event);
    grip = place.map((value, i) => value - here[i]);
    write(node, { "data-dragging": true });
  });
  node.addEventListener("pointermove", (event) => {
    if (grip) move(at(event).map((value, i) => value + grip[i]));
  });
  const release = () => {
    grip = null;
    write(node, { "data-dragging": null });
  };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) node.addEventListener(name, release);
  // Of a part of a drawing Chromium does not heed touch-action: it would take a finger's drag for a scroll, and end it.
  node.addEventListener("touchmove", (event) => event.cancelable && event.preventDefault(), { passive: false });
  node.addEventListener("focus", () => onFocus());
  node.addEventListener("keydown", (event) => {
    const next = moves(place, event.shiftKey ? 0.5 : 0.1)[event.key];
    if (!next) return;
    event.preventDefault();
    move(next);
  });
  return {
    node,
    update(next, { x, y, label, words, now, min, max }) {
      place = [...next];
      write(node, {
        transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`,
        "aria-label": label,
        "aria-valuenow": now,
        "aria-valuemin": min,
        "aria-valuemax": max,
        "aria-valuetext": words,
      });
    },
  };
}

/**
 * A handle on a line, from `min` to `max`: `at(event)` is the number under a pointer, onMove(value) tells. Right, up and
 * their kin are more. `update(value, {x, y, words, min, max, whole})`: with `whole`, a key press is a step of 1.
 */
export function handle1d({ mark, name, at, onMove }) {
  let range = { min: 0, max: 1, whole: false };
  const self = handle({
    mark,
    at: (event) => [at(event)],
    moves([value], step) {
      const [small, big] = range.whole ? [1, 1] : [step, 0.5];
      const [more, less] = [[value + small], [value - small]];
      return {
        ArrowRight: more,
        ArrowUp: more,
        ArrowLeft: less,
        ArrowDown: less,
        PageUp: [value + big],
        PageDown: [value - big],
        Home: [range.min],
        End: [range.max],
      };
    },
    hold: ([value]) => [Math.min(Math.max(value, range.min), range.max)],
    onMove: ([value]) => onMove(value),
  });
  return {
    node: self.node,
    update(value, { x, y, words, min, max, whole = false }) {
      range = { min, max, whole };
      self.update([value], { x, y, label: name, words, now: value, min, max });
    },
  };
}
