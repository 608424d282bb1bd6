// What each key gets: its energy and its weight, in numbers and as bars below them.

import { toggle } from "./controls.js";
import { html, pool, write } from "./dom.js";
import { number, pair, share } from "./text.js";

function measured(kind) {
  const words = html("span");
  const bar = html("span", { class: `attnlib-filled attnlib-filled-${kind}` });
  const track = html("span", { class: `attnlib-track attnlib-track-${kind}`, "aria-hidden": "true" }, bar);
  const node = html("td", {}, words, track);
  return {
    node,
    /** The bar from `from` to `to`, both parts of the whole length. */
    update(text, from, to) {
      const [start, end] = [Math.max(0, Math.min(from, to)), Math.min(1, Math.max(from, to))];
      write(words, { text });
      write(bar, { style: `left:${(100 * start).toFixed(2)}%;width:${(100 * (end - start)).toFixed(2)}%` });
    },
  };
}

/** `onTick(i, visible)` gives each key a box to hide it; `places` shows where the keys are. */
export function keyTable({ weight = "Weight", places = false, onTick = null }) {
  const caption = html("caption");
  const heads = ["Key", ...(places ? ["Place"] : []), "Energy", weight];
  const head = html("thead", {}, html("tr", {}, ...heads.map((text) => html("th", { scope: "col", text }))));
  const body = html("tbody");
  const node = html("table", { class: "attnlib-table attnlib-keys" }, caption, head, body);
  const lines = pool(body, (i) => {
    const [box, place] = [onTick && toggle({ label: "", onInput: (on) => onTick(i, on) }), places && html("td")];
    const name = html("th", { scope: "row" }, ...(box ? [box.node] : []));
    const [energy, part] = [measured("energy"), measured("weight")];
    const line = html("tr", {}, name, ...(places ? [place] : []), energy.node, part.node);
    return { node: line, box, name, place, energy, part };
  });
  return {
    node,
    update({ key, labels, mask }, { energies, weights }, words) {
      write(caption, { text: words });
      const largest = Math.max(1, ...energies.filter(Number.isFinite).map(Math.abs));
      lines(key.length).forEach(({ node: line, box, name, place, energy, part }, i) => {
        if (box) {
          box.update(mask[i], { label: labels[i] });
          write(box.node.firstChild, { "aria-label": `${labels[i]} visible` });
        } else write(name, { text: labels[i] });
        if (place) write(place, { text: pair(key[i], 1) });
        const height = Number.isFinite(energies[i]) ? energies[i] / (2 * largest) : 0;
        energy.update(number(energies[i]), 0.5, 0.5 + height);
        part.update(share(weights[i]), 0, weights[i]);
        write(line, { "data-none": weights[i] === 0 });
      });
    },
  };
}
