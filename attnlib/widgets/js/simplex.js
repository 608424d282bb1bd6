// The simplex of three keys as a triangle in the plane of their logits, and a ring in that plane to drag.
//
// Sparsemax is the nearest point of the triangle, and a temperature a place on a ray from its middle.

import { chart, line, total } from "./bars.js";
import { pool, svg, write } from "./dom.js";
import { flat, lifted } from "./math/simplex.js";
import { point } from "./plane.js";
import { number } from "./text.js";

const [WIDTH, HEIGHT] = [440, 360];
const [X, Y] = [220, 214]; // the middle of the triangle
const MARGIN = 16;
const CORNERS = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const RING = "M-11 0H-4M4 0H11M0 -11V-4M0 4V11M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0";
const EDGES = [
  [0, 1],
  [0, 2],
  [1, 2],
];
const middle = (places) => [0, 1].map((i) => total(places.map((place) => place[i])) / places.length);

/** Text outside of the edge between two corners, to the side that a place which falls on its middle does not come from. */
function beside(ends) {
  const [x, y] = middle(ends);
  const [right, down] = [x - X, y - Y].map((part) => part / Math.hypot(x - X, y - Y));
  return [x + right * 18 + down * 36, y + down * 18 - right * 36 + 4];
}

/**
 * `names` are the three keys, onMove(logits) tells where the ring went, as three numbers that sum to zero.
 *
 * `pixels(numbers)` is the place of three numbers, `layer(name)` a new <g> under the ring, `outside()` whether the ring
 * is held on the border. `update(ring, { wide, last, end, low })` puts the ring; `last` are the keys where a path ends,
 * named `end`; `low` is the key that no path comes near to.
 */
export function simplex({ label, names, onMove }) {
  const { node, layer, under } = chart({ label, width: WIDTH, height: HEIGHT, kind: "attnlib-simplex" });
  let unit = 1;
  let held = 1; // the part of its way from the middle at which a ring outside of the picture stands
  let place = [0, 0];
  const pixels = (numbers) => flat(numbers).map((part, i) => [X + part * unit, Y - part * unit][i]);
  const ground = layer("attnlib-simplex-ground");
  const strips = EDGES.map(() => ground.appendChild(svg("polygon")));
  const inside = ground.appendChild(svg("polygon", { class: "attnlib-simplex-inside" }));
  const rules = ground.appendChild(svg("path"));
  const words = pool(layer("attnlib-simplex-words"), () => ({ node: svg("text", { "text-anchor": "middle" }) }));
  const board = {
    limit: 100, // what the logits may be holds it, not the picture
    x: (value) => X + value * unit * held,
    y: (value) => Y - value * unit * held,
    at(event) {
      if (event.type === "pointerdown" && held < 1) return place; // taken on the border, it comes to the pointer
      const [x, y] = under(event);
      return [(x - X) / unit, (Y - y) / unit];
    },
  };
  const mark = svg("path", { class: "attnlib-simplex-ring", d: RING });
  const ring = point({ plane: board, name: "Logits over temperature", mark, onMove: (to) => onMove(lifted(to)) });

  function paint({ wide, last, end, low }) {
    const corners = CORNERS.map(pixels);
    // What sparsemax sends to an edge lies straight out from it.
    strips.forEach((strip, i) => {
      const [a, b] = EDGES[i].map((j) => corners[j]);
      const [dx, dy] = middle([a, b]).map((part, k) => (part - [X, Y][k]) * 40);
      write(strip, { points: line([a, b, [b[0] + dx, b[1] + dy], [a[0] + dx, a[1] + dy]]) });
    });
    write(inside, { points: line(corners) });
    const quarters = [0.25, 0.5, 0.75].flatMap((part) =>
      CORNERS.map((_, i) => {
        const along = (step) => CORNERS.map((_, k) => (k === i ? part : k === (i + step) % 3 ? 1 - part : 0));
        return `M${line([pixels(along(1))])}L${line([pixels(along(2))])}`;
      }),
    );
    write(rules, { d: wide ? null : quarters.join("") });
    const texts = corners.map(([x, y], i) => {
      const named = last.length === 1 && last[0] === i ? `${names[i]}, ${end}` : names[i];
      const anchor = ["end", "start", "middle"][i];
      return { text: named, x: x + [-9, 9, 0][i], y: y + [19, 19, -12][i], "text-anchor": anchor, "data-strong": true };
    });
    const plain = (text, [x, y]) => texts.push({ text, x, y, "text-anchor": "middle", "data-strong": null });
    if (last.length === 2) plain(end, beside(last.map((i) => corners[i])));
    const [x, y] = middle([corners[low], [X, Y]]);
    plain(wide ? "3" : "support 3", [x, y + 5]);
    const [right, top] = middle([corners[1], corners[2]]);
    plain("support 2", [right + 74, top - 30]);
    plain("support 1", [WIDTH - 44, HEIGHT - 14]);
    words(texts.length).forEach(({ node: text }, i) => write(text, texts[i]));
  }

  let painted = "";
  return {
    node,
    layer,
    pixels,
    outside: () => held < 1,
    update(numbers, how) {
      if (!ring.node.parentNode) node.append(ring.node); // after the member's layers
      unit = how.wide ? 74 : 176;
      place = flat(numbers);
      const [x, y] = [place[0] * unit, -place[1] * unit];
      const room = [x > 0 ? WIDTH - X - MARGIN : X - MARGIN, y > 0 ? HEIGHT - Y - MARGIN : Y - MARGIN];
      held = Math.min(1, room[0] / Math.abs(x), room[1] / Math.abs(y));
      const all = JSON.stringify(how);
      if (all !== painted) paint(how);
      painted = all;
      write(ring.node, { "data-outside": held < 1 });
      const told = numbers.map((value, i) => `${names[i]} ${number(value)}`).join(", ");
      ring.update(place, "Logits over temperature", told);
    },
  };
}
