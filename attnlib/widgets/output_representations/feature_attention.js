// FeatureAttention: a weight for each feature of each token, against one weight for each token.

import { bars, chart, levers } from "../js/bars.js";
import { choice } from "../js/controls.js";
import { html, pool, svg, write } from "../js/dom.js";
import { perFeature } from "../js/math/features.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const [LEFT, RIGHT] = [40, 430];
const BARS = { height: 130, foot: 150 };
const MOST = 6; // of an energy
const KINDS = ["query", "key", "context"];

/** A group of bars for each token, one a feature; dashed over all of them the weight that they would share. */
function picture() {
  const { node, layer } = chart({ label: "Weights of each feature of each token", width: 440, height: 198 });
  const ground = layer("attnlib-grid");
  for (const part of [0, 0.5, 1]) {
    const y = BARS.foot - BARS.height * part;
    ground.append(svg("line", { class: part ? null : "attnlib-axis", x1: LEFT, x2: RIGHT, y1: y, y2: y }));
    ground.append(svg("text", { x: LEFT - 6, y: y + 5, "text-anchor": "end", text: part }));
  }
  const each = KINDS.map((kind) => bars({ layer: layer(`attnlib-bars attnlib-feature-${kind}`), ...BARS }));
  const names = pool(layer("attnlib-feature-names"), () => ({
    node: svg("text", { y: BARS.foot + 36, "text-anchor": "middle" }),
  }));
  const shared = pool(layer("attnlib-feature-one"), () => ({ node: svg("rect") }));
  return {
    node,
    update({ tokens, token, features }, { weights, one }) {
      const wide = (RIGHT - LEFT) / tokens.length;
      const third = Math.min(26, (0.86 * wide) / 3);
      const middle = (i) => LEFT + (i + 0.5) * wide;
      each.forEach((draw, k) =>
        draw(
          weights.map((row, i) => ({
            x: middle(i) + (k - 1) * third,
            half: third / 2,
            value: row[k],
            outline: null,
            name: features[k][0],
          })),
          1,
        ),
      );
      shared(tokens.length).forEach(({ node: box }, i) => {
        const tall = BARS.height * one[i];
        write(box, { x: middle(i) - 1.5 * third, width: 3 * third, y: BARS.foot - tall, height: tall });
      });
      names(tokens.length).forEach(({ node: name }, i) =>
        write(name, { x: middle(i), text: tokens[i], "data-strong": i === token }),
      );
    },
  };
}

/** The energies of one token's features as handles. */
function handles(features, onMove) {
  const board = chart({ label: "Energies of the chosen token", width: 440, height: 190 });
  const at = features.map((_, k) => LEFT + ((k + 0.5) * (RIGHT - LEFT)) / features.length);
  const names = features.map((feature) => `Energy of ${feature}`);
  const put = levers({
    chart: board,
    names,
    at,
    left: LEFT,
    right: RIGHT,
    top: 16,
    height: 130,
    least: -MOST,
    most: MOST,
    onMove,
  });
  const words = board.layer("attnlib-feature-names");
  features.forEach((feature, k) =>
    words.append(svg("text", { x: at[k], y: 178, "text-anchor": "middle", text: feature })),
  );
  return { node: board.node, update: put };
}

/** A number, a whole one without decimals. */
const brief = (x) => number(x, Number.isInteger(x) ? 0 : 1);

/** "at star (0.948)", or "at none more" where all are alike. */
function most(tokens, weights) {
  const largest = Math.max(...weights);
  if (largest - Math.min(...weights) < 1e-9) return `at none more than at another (${share(largest)})`;
  return `at ${tokens[weights.indexOf(largest)]} (${share(largest)})`;
}

function build(view, first) {
  let now = first;
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const which = choice({ label: "Token whose energies to move", onInput: (value) => set({ token: Number(value) }) });
  const move = (k, value) =>
    set({
      energies: now.energies.map((row, i) => (i === now.token ? row.map((old, j) => (j === k ? value : old)) : row)),
    });
  const [drawing, grips] = [picture(), handles(first.features, move)];
  const caption = `Weights: each column sums to 1. With a token's name: its ${first.features.join(", ")}`;
  const numbers = table({
    columns: ["Token", ...first.features, "one for all"],
    caption,
    sums: true,
    kind: "attnlib-feature-table",
  });
  const left = html("div", { class: "attnlib-side" }, drawing.node, view.caption);
  view.root.append(
    html("div", { class: "attnlib-two" }, left, html("div", { class: "attnlib-side" }, which.node, grips.node)),
    numbers.node,
  );

  return (state) => {
    now = state;
    const { tokens, token, features, energies, values } = state;
    const found = perFeature(energies, values);
    drawing.update(state, found);
    which.update(token, { options: tokens.map((name, i) => [i, name]) });
    grips.update(energies[token]);
    numbers.update(
      tokens.map((name, i) => [
        `${name}: ${values[i].map(brief).join(", ")}`,
        ...found.weights[i].map(share),
        share(found.one[i]),
      ]),
      {
        sums: ["Read", ...found.context.map((x) => number(x)), found.mixture.map((x) => number(x, 1)).join(", ")],
        shown: (i) => i === token,
      },
    );
    const looks = features.map(
      (name, k) =>
        `${name} ${most(
          tokens,
          found.weights.map((row) => row[k]),
        )}`,
    );
    view.news(
      `Most weight: ${looks.join(", ")}; one for all ${most(tokens, found.one)}.`,
      "Filled: a weight for each feature. Dashed: one weight for the token.",
    );
  };
}

const unnamed = "Your own energies";
const hint = "Move one feature's energy: which bars follow, and what does the dashed one do?";

export default { build, unnamed, hint };
