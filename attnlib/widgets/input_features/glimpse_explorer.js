// GlimpseExplorer: a fovea over a scene, what it sees there, and what a trained model believes after each glimpse.

import { button, choice } from "../js/controls.js";
import { html, pool, svg, write } from "../js/dom.js";
import { handle } from "../js/handle.js";
import { numbered, panel } from "../js/image.js";
import { kept } from "../js/kept.js";
import { framed, mapAddress, pictureAddress, unpacked } from "../js/math/bitmap.js";
import { glimpses, network, patchEdges, planes, retina } from "../js/math/glimpses.js";
import { largest, steps, trail } from "../js/stepper.js";
import { table } from "../js/table.js";
import { number, pair, share } from "../js/text.js";

const WIDE = 480; // of the drawing, as a panel has it
const PAUSE = 900; // ms between two glimpses of a replay
const AROUND = 0.3; // how far beyond the image the fovea can be moved, in its coordinates
const GREYS = Array.from({ length: 256 }, (_, i) => [i, i, i]);
const calm = () => globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? true;
const told = ({ places, scene }) => JSON.stringify([places, scene]);
const within = (place) => place.map((value) => Math.min(Math.max(value, -1 - AROUND), 1 + AROUND));

const surrounded = kept((image) => {
  const found = framed(unpacked(image), AROUND / 2, 64);
  return { ...found, src: pictureAddress(found) };
});

/** The scene with the squares of the retina, the places that were looked at, the next one, and the fovea to move. */
function board({ onMove, onLook }) {
  const picture = panel({ title: "Drag, click, or arrows and Enter" });
  const edge = picture.layer("attnlib-glimpse-edge").appendChild(svg("rect"));
  const draw = numbered(picture);
  const squares = pool(picture.layer("attnlib-glimpse-squares"), () => {
    const [ground, line, text] = [svg("rect"), svg("rect"), svg("text")];
    return { node: svg("g", {}, ground, line, text), ground, line, text };
  });
  const next = picture.layer("attnlib-glimpse-next");
  next.append(svg("path", { d: "M0 -13L13 0L0 13L-13 0Z" }), svg("text", { y: 31, text: "next" }));
  let [size, around] = [
    { height: 1, width: 1 },
    { top: 0, left: 0 },
  ];
  const at = (event) => {
    const [row, column] = picture.under(event);
    return [(2 * (column + 0.5 - around.left)) / size.width - 1, (2 * (row + 0.5 - around.top)) / size.height - 1];
  };
  /** Row and column of a place, of one out of sight those of the nearest in sight. */
  const cell = (place) => {
    const [x, y] = within(place);
    return [((y + 1) * size.height) / 2 + around.top - 0.5, ((x + 1) * size.width) / 2 + around.left - 0.5];
  };
  const pixel = (place) =>
    cell(place)
      .reverse()
      .map((value) => (value + 0.5) * picture.unit());
  const grip = handle({
    mark: svg("path", { class: "attnlib-glimpse-grip", d: "M-30 0H-17M30 0H17M0 -30V-17M0 30V17" }),
    at,
    moves: ([x, y], step) => ({
      ArrowLeft: [x - step, y],
      ArrowRight: [x + step, y],
      ArrowUp: [x, y - step],
      ArrowDown: [x, y + step],
      PageUp: [x, y - 0.5],
      PageDown: [x, y + 0.5],
      Home: [-1, y],
      End: [1, y],
    }),
    hold: within,
    onMove(place) {
      moved = true;
      onMove(place);
    },
  });
  write(grip.node, { "aria-roledescription": "movable point" });
  const over = svg(
    "svg",
    { class: "attnlib-image-drawing attnlib-glimpse-board", role: "group", "aria-label": "The fovea" },
    grip.node,
  );
  picture.node.lastChild.append(over);
  let moved = false;
  let pressed = null;
  over.addEventListener("pointerdown", ({ target, clientX, clientY }) => {
    moved = false;
    pressed = target.closest(".attnlib-point") ? null : [clientX, clientY];
  });
  over.addEventListener("click", (event) => {
    if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 8) onLook(within(at(event)));
  });
  grip.node.addEventListener("pointerup", () => moved && onLook(null));
  grip.node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    onLook(null);
  });
  return {
    node: picture.node,
    update({ scenes, scene, fovea, places, model }, own) {
      const { name, image } = scenes[scene];
      [size, around] = [image, surrounded(image)];
      const { height, width, src } = around;
      picture.update({ src, height, width, alt: `${name}, among pieces of other digits` });
      const unit = picture.unit();
      write(edge, {
        x: around.left * unit,
        y: around.top * unit,
        width: size.width * unit,
        height: size.height * unit,
      });
      draw(places.map(cell), 0);
      const all = patchEdges(fovea, { ...size, ...model });
      squares(all.length).forEach(({ ground, line, text }, k) => {
        const [left, top, wide] = all[k];
        const box = {
          x: (left + around.left) * unit,
          y: (top + around.top) * unit,
          width: wide * unit,
          height: wide * unit,
        };
        write(ground, box);
        write(line, { ...box, "stroke-dasharray": k ? `${14 / k} ${5 + k}` : null });
        const shown = [box.x, box.y].map((at) => Math.min(Math.max(at, 0), WIDE - 60)); // of a square that begins out of sight
        write(text, { x: shown[0] + 5, y: shown[1] + 17, text: `×${2 ** k}` });
      });
      const [x, y] = own ? pixel(own) : [0, 0];
      write(next, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, visibility: own ? null : "hidden" });
      write(over, { viewBox: `0 0 ${WIDE} ${(WIDE * height) / width}` });
      const [fx, fy] = pixel(fovea);
      const words = `x ${number(fovea[0])}, y ${number(fovea[1])}`;
      grip.update(fovea, {
        x: fx,
        y: fy,
        label: "Fovea",
        words,
        now: within(fovea)[0],
        min: -1 - AROUND,
        max: 1 + AROUND,
      });
    },
  };
}

/** What the retina sees, a picture for each scale; colours are shown as their mean. */
function patches() {
  const node = html("div", { class: "attnlib-glimpse-patches", role: "group", "aria-label": "What the retina sees" });
  const items = pool(node, () => {
    const [image, words] = [html("img", { class: "attnlib-image" }), html("figcaption")];
    return { node: html("figure", { class: "attnlib-thumbnail" }, image, words), image, words };
  });
  return {
    node,
    update(seen, size) {
      items(seen.length).forEach(({ image, words }, k) => {
        const mean = seen[k][0].map((_, i) => seen[k].reduce((sum, patch) => sum + patch[i], 0) / seen[k].length);
        const bright = number(mean.reduce((sum, value) => sum + value, 0) / mean.length);
        const src = mapAddress({ height: size, width: size, data: mean }, 1, GREYS);
        write(image, {
          src,
          alt: `The square ×${2 ** k}; its mean brightness is ${bright}`,
          width: size,
          height: size,
        });
        write(words, { text: `×${2 ** k}: ${2 ** k * size} px` });
      });
    },
  };
}

function build(view, first) {
  let now = first;
  let timer = 0;
  let beliefs = null; // the table; its columns are the model's glimpses
  const read = kept(network);
  const image = kept((picture) => planes(unpacked(picture)));
  const full = (places) => places.length >= now.model.glimpses;
  const net = () => read(now.model);
  const scenery = () => image(now.scenes[now.scene].image);
  function set(changes) {
    clearTimeout(timer);
    now = { ...now, ...changes };
    view.set(changes);
  }
  function look(place) {
    const at = place ?? now.fovea;
    set(full(now.places) ? { fovea: at } : { places: [...now.places, at], fovea: at });
  }
  /** So many glimpses; those that are not taken yet go where the model itself would look, the first to the fovea. */
  function walk(count) {
    const places = now.places.slice(0, count);
    while (places.length < count && !full(places))
      places.push(places.length ? glimpses(net(), scenery(), places).at(-1).next : now.fovea);
    set({ places, fovea: places.at(-1) ?? now.places[0] ?? now.fovea });
    return places.length;
  }
  function replay() {
    set({ places: [], fovea: now.places[0] ?? now.fovea });
    const on = () => {
      walk(calm() ? now.model.glimpses : now.places.length + 1);
      if (!full(now.places)) timer = setTimeout(on, PAUSE);
    };
    on();
  }
  const drawing = board({ onMove: (fovea) => set({ fovea }), onLook: look });
  const seen = patches();
  const scene = choice({ label: "Scene", onInput: (value) => set({ scene: Number(value), places: [] }) });
  const done = trail({ label: "Glimpses so far" });
  const here = button({ label: "Look", onClick: () => full(now.places) || look(null) });
  const control = steps({ forward: "Let it look", onWalk: walk });
  control.node.prepend(here.node);
  control.node.append(button({ label: "Replay its own path", onClick: replay }).node);
  const holder = html("div", { class: "attnlib-glimpse-beliefs" });
  const parts = html(
    "div",
    { class: "attnlib-glimpses" },
    html("div", { class: "attnlib-glimpse-scene" }, drawing.node, scene.node),
    seen.node,
    holder,
  );
  view.root.append(parts, view.caption, done.node, control.node);

  return (state) => {
    const columns = ["Digit", "Now", ...Array.from({ length: state.model.glimpses - 1 }, (_, n) => String(n + 1))];
    if (!beliefs || state.model.glimpses !== now.model.glimpses) {
      const caption = "Belief now (outlined: before), at glimpse";
      beliefs = table({ columns, caption, bars: 1, kind: "attnlib-looks attnlib-glimpse-table" });
      holder.replaceChildren(beliefs.node);
    }
    if (told(state) !== told(now)) clearTimeout(timer); // a preset came, or the kernel
    now = state;
    const found = glimpses(net(), scenery(), state.places);
    const [last, before] = [found.at(-1), found.at(-2)];
    const best = last ? largest(last.belief) : -1;
    drawing.update(state, full(state.places) ? null : last?.next);
    seen.update(retina(scenery(), state.fovea, net()), state.model.size);
    scene.update(state.scene, { options: state.scenes.map(({ name }, n) => [String(n), name]) });
    const earlier = (k) => columns.slice(2).map((_, n) => (n < found.length - 1 ? number(found[n].belief[k]) : ""));
    const none = { text: "", part: 0, before: 0 };
    const shown = (k) =>
      last ? { text: share(last.belief[k]), part: last.belief[k], before: before?.belief[k] ?? 0 } : none;
    beliefs.update(
      net().action.rows.map((_, k) => [String(k), shown(k), ...earlier(k)]),
      { shown: (k) => k === best },
    );
    done.update(
      found.map(({ belief }, n) => ({
        text: `${n + 1} ${pair(state.places[n])}`,
        note: `${largest(belief)}: ${number(Math.max(...belief))}`,
      })),
    );
    const whole = full(state.places);
    control.update(state.places.length, whole);
    here.update({ disabled: whole });
    const answer = `The digit is ${state.scenes[state.scene].kind}.`;
    if (!last)
      return view.news(`No glimpse yet. ${answer}`, "Squares are the retina's scales: the wider, the coarser.");
    const next = whole ? "All its glimpses are taken." : `It would look next at ${pair(last.next)}.`;
    view.news(
      `Glimpse ${found.length} at ${pair(state.places.at(-1))}: most belief in ${best} (${share(last.belief[best])}). ${answer}`,
      next,
    );
  };
}

const unnamed = "Another path";
const hint = "Look where the digit is, then beside it: when does the belief follow?";

export default { build, unnamed, hint };
