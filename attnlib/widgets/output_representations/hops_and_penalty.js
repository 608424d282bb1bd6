// HopsAndPenalty: five hops over a review, trained with a penalty of one size or another.

import { choice, slider } from "../js/controls.js";
import { html, write } from "../js/dom.js";
import { map } from "../js/maps.js";
import { hops } from "../js/math/hops.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

function build(view, first) {
  let now = first;
  const { coefficients, texts, maps, positive, overlap, reach, right } = view.data;
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const sentences = texts.map((text, i) => {
    const columns = text.split(" ");
    const rows = maps[0][i].map((_, t) => `hop ${t + 1}`);
    return { columns, rows, glosses: [], links: [], mask: [], row_language: "en", column_language: "en" };
  });
  const matrices = coefficients.map((name, c) => texts.map((_, i) => ({ name: `λ = ${name}`, weights: maps[c][i] })));
  const which = choice({
    label: "Review",
    options: texts.map((text, i) => [i, `“${text.split(" ").slice(0, 4).join(" ")} …”`]),
    onInput: (value) => set({ text: Number(value) }),
  });
  const size = slider({
    label: "Coefficient of the penalty",
    min: 0,
    max: coefficients.length - 1,
    step: 1,
    text: (value) => coefficients[value],
    onInput: (value) => set({ coefficient: Math.round(value) }),
  });
  const board = map((hop) => set({ hop }));
  const told = html("p", { class: "attnlib-caption attnlib-hops-told" });
  const list = table({
    columns: ["Coefficient", "Overlap", "Right", "Words a hop is on"],
    bars: 2,
    kind: "attnlib-hops-table",
  });
  const controls = html("div", { class: "attnlib-controls" }, size.node, which.node);
  const side = html("div", { class: "attnlib-side" }, list.node);
  view.root.append(
    controls,
    view.caption,
    html("div", { class: "attnlib-two attnlib-maps-below" }, html("div", {}, board.node, told), side),
  );

  return (state) => {
    now = state;
    const { text, coefficient, hop } = state;
    const [sentence, matrix] = [sentences[text], matrices[coefficient][text]];
    const found = hops(matrix.weights);
    which.update(text);
    size.update(coefficient);
    board.update({ sentence, matrix, row: hop, weights: matrix.weights[hop], open: () => true });
    write(told, {
      text: `This map: overlap ${number(found.overlap, 3)}, penalty ${number(found.penalty)}: ${number(found.sharp)} for not being sharp, ${number(found.apart)} for not being apart.`,
    });
    list.update(
      coefficients.map((name, c) => [
        name,
        { text: share(overlap[c]), part: overlap[c] },
        { text: number(right[c], 3), part: right[c] },
        number(reach[c], 1),
      ]),
      { caption: "Over all test sentences, means of the seeds", shown: (i) => i === coefficient },
    );
    const most = matrix.weights.map((row) => sentence.columns[row.indexOf(Math.max(...row))]);
    const kinds = new Set(most).size;
    view.news(
      `Most weight of each hop: ${most.join(", ")}: ${kinds} ${kinds > 1 ? "different words" : "word"}. Positive with probability ${number(positive[coefficient][text], 2)}.`,
    );
  };
}

const unnamed = "Your own choice";
const hint = "Slide the coefficient: where do the hops part, and what happens to the share of right answers?";

export default { build, unnamed, hint, inSight: true };
