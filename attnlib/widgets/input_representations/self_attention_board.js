// SelfAttentionBoard: words as points of a plane, the matrix of their weights, and the context of one of them.

import { button, choice, toggle } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { keyTable } from "../js/keys.js";
import { map } from "../js/maps.js";
import { placed, selfAttention, wordVector } from "../js/math/self_attention.js";
import { arrow, before, legend, mark, plane, point, reach } from "../js/plane.js";
import { replaced } from "../js/scores.js";
import { pair, share } from "../js/text.js";

const MOST = 8;
const MATRICES = { query_weight: "W_q", key_weight: "W_k", value_weight: "W_v" };
const POSITIONS = { none: "none", added: "added to the words", rotary: "rotary: q and k are turned" };
const column = (matrix, j) => matrix.map((row) => row[j]);

const attention = (state) =>
  selfAttention(state.vectors, {
    query: state.query_weight,
    key: state.key_weight,
    value: state.value_weight,
    positions: state.positions,
    isCausal: state.is_causal,
  });

function drawing(view, get) {
  const board = plane({ label: "The plane of words and contexts", onTap: (place) => moved(get().selected, place) });
  const moved = (i, place) => view.set({ vectors: replaced(get().vectors, [i], place), selected: i });
  const drag = (name, j, [x, y]) => view.set({ [name]: replaced(replaced(get()[name], [0, j], x), [1, j], y) });
  const flows = pool(board.layer("attnlib-flows"), () => ({ node: svg("line") }));
  const shifts = pool(board.layer("attnlib-rays"), () => ({ node: svg("path", { class: "attnlib-query-ray" }) }));
  const layer = (kind) => pool(board.layer(), () => mark(kind));
  const [words, contexts, corners] = ["key", "context", "value"].map(layer);
  const grips = pool(board.layer(), (i) =>
    point({
      plane: board,
      onMove: (place) => moved(i, place),
      onFocus: () => get().selected !== i && view.set({ selected: i }),
    }),
  );
  let held = "";
  const handles = pool(board.layer(), (j) => point({ plane: board, onMove: (place) => drag(held, j, place) }));
  return {
    node: board.node,
    update(state, rows, name) {
      held = name;
      const { vectors, selected } = state;
      const ends = name ? [0, 1].map((j) => column(state[name], j)) : [];
      const there = state.positions === "added" ? vectors.map(placed) : [];
      board.update(reach([...vectors, ...there, ...ends, ...rows.map(({ context }) => context)]));
      const { place } = board;
      const { weights, context } = rows[selected];
      const [x2, y2] = place(context);
      flows(vectors.length).forEach(({ node }, i) => {
        const [x1, y1] = place(vectors[i]);
        write(node, { x1, y1, x2, y2, "stroke-width": 1 + 9 * weights[i], "data-none": weights[i] === 0 });
      });
      const rays = [...there.map((end, i) => [vectors[i], end]), ...ends.map((end) => [[0, 0], end])];
      shifts(rays.length).forEach(({ node }, i) =>
        write(node, {
          d: arrow(place(rays[i][0]), before(place(rays[i][0]), place(rays[i][1]), i < there.length ? 0 : 13)),
        }),
      );
      words(vectors.length).forEach((drawn, i) => {
        const first = state.words.findIndex(
          (word, s) => word === state.words[i] && vectors[s].join() === vectors[i].join(),
        );
        // Of words on one spot the names are not written over each other.
        const chosen = vectors[i].join() === vectors[selected].join();
        drawn.update(first === i ? `${state.words[i]} ` : "", { hollow: !chosen, place: place(vectors[i]) });
      });
      contexts(1)[0].update("c", { place: place(context) });
      corners(ends.length).forEach((drawn, j) => drawn.update(`${j + 1}`, { place: place(ends[j]) }));
      grips(vectors.length).forEach((grip, i) => grip.update(vectors[i], `Word ${i + 1}, ${state.words[i]}`));
      handles(ends.length).forEach((grip, j) => grip.update(ends[j], `Column ${j + 1} of ${MATRICES[name]}`));
    },
  };
}

/** A line to type words into: those that stay keep their places in the plane. */
function sentence(view, get) {
  const id = uid();
  const input = html("input", {
    id,
    type: "text",
    class: "attnlib-board-sentence",
    autocomplete: "off",
    spellcheck: "false",
  });
  const plain = `Sentence, up to ${MOST} words`;
  const label = html("label", { for: id, text: plain });
  input.addEventListener("input", () => {
    const typed = input.value.split(/\s+/).filter(Boolean);
    const words = typed.slice(0, MOST);
    write(label, { text: typed.length > MOST ? `${plain}: without “${typed.slice(MOST).join(" ")}”` : plain });
    if (!words.length) return;
    const old = new Map(get().words.map((word, i) => [word, get().vectors[i]]));
    const vectors = words.map((word) => old.get(word) ?? wordVector(word));
    view.set({ words, vectors, selected: Math.min(get().selected, words.length - 1) });
  });
  let typed = "";
  return {
    node: html("div", { class: "attnlib-control attnlib-board-line" }, label, input),
    update({ words }) {
      const now = input.value.split(/\s+/).filter(Boolean).slice(0, MOST).join(" ");
      if (words.join(" ") !== now || !typed) {
        input.value = typed = words.join(" ");
        write(label, { text: plain });
      }
      write(input, { value: words.join(" ") });
    },
  };
}

function build(view, first) {
  let state = first;
  let name = ""; // of the matrix whose columns are handles
  const get = () => state;
  const picture = drawing(view, get);
  const marks = legend(
    ["key", "w", "word, drag it"],
    ["context", "c", "context of the chosen word"],
    ["value", "1", "column of the matrix, drag it"],
  );
  const line = sentence(view, get);
  const positions = choice({
    label: "Positions",
    options: Object.entries(POSITIONS),
    onInput: (value) => view.set({ positions: value }),
  });
  const causal = toggle({ label: "Only the past (causal)", onInput: (value) => view.set({ is_causal: value }) });
  const matrix = choice({
    label: "Handles for",
    options: [["", "no matrix"], ...Object.entries(MATRICES)],
    onInput(value) {
      name = value;
      show();
    },
  });
  const straight = button({
    label: "Straight",
    onClick: () =>
      name &&
      view.set({
        [name]: [
          [1, 0],
          [0, 1],
        ],
      }),
  });
  const numbers = html("p", { class: "attnlib-caption attnlib-board-matrices" });
  const weights = map((row) => row !== state.selected && view.set({ selected: row }));
  const row = keyTable({});
  const settings = html(
    "div",
    { class: "attnlib-settings" },
    line.node,
    html("div", { class: "attnlib-controls" }, positions.node, matrix.node, causal.node, straight.node),
    numbers,
  );
  view.root.append(
    html(
      "div",
      { class: "attnlib-two" },
      html("div", {}, picture.node, marks.node),
      html(
        "div",
        { class: "attnlib-side" },
        view.caption,
        html("div", { class: "attnlib-maps-below" }, weights.node),
        settings,
      ),
    ),
    row.node,
  );

  function show() {
    const rows = attention(state);
    const { words, selected } = state;
    picture.update(state, rows, name);
    marks.update("key", "context", ...(name ? ["value"] : []));
    line.update(state);
    positions.update(state.positions);
    causal.update(state.is_causal);
    matrix.update(name);
    straight.update({ disabled: !name, label: name ? `${MATRICES[name]} straight` : "Straight" });
    const told = Object.entries(MATRICES).map(
      ([each, short]) => `${short} ${state[each].map((line) => pair(line, 1)).join(" ")}`,
    );
    write(numbers, { text: `Rows of the matrices: ${told.join("; ")}.` });
    const whole = { rows: words, columns: words, links: [], glosses: [], mask: rows.map(({ mask }) => mask) };
    const shown = { name: "weights: each word's row", weights: rows.map((each) => each.weights) };
    weights.update({
      sentence: whole,
      matrix: shown,
      row: selected,
      weights: shown.weights[selected],
      linked: [],
      other: null,
      open: (t, s) => whole.mask[t][s],
    });
    const chosen = rows[selected];
    row.update(
      { key: state.vectors, labels: words, mask: chosen.mask },
      chosen,
      `What word ${selected + 1}, ${words[selected]}, gives to each: e = q·k / √2, weight = softmax(e)`,
    );
    const parts = words.map((word, i) => `${word} ${share(chosen.weights[i])}`).join(", ");
    view.news(
      `Word ${selected + 1}, ${words[selected]}: weights ${parts}; context c = Σ αv = ${pair(chosen.context)}.`,
    );
  }
  return (next) => {
    state = next;
    show();
  };
}

const unnamed = "Your own sentence";
const hint = "Type a sentence, drag a word, or choose a row of the weights.";

export default { build, unnamed, hint };
