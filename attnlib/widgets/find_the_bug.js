// FindTheBug: attention out of the museum, without its name, and the line at fault to be found.

import { button, slider, toggle } from "./js/controls.js";
import { html, pool, write } from "./js/dom.js";
import { map } from "./js/maps.js";
import { FAR, asked as ask, weightsOf } from "./js/math/broken.js";
import { legend, mark, plane, point } from "./js/plane.js";
import { pair, share } from "./js/text.js";

const LIMIT = 4; // of the plane
const SETS = [0, 30, 60].map((degrees) => [0, 90, 180, 270].map((quarter) => turn(degrees + quarter))); // queries to ask with
const [queryName, keyName] = ["q", "k"].map((letter) => (i) => `${letter}${i + 1}`);

function turn(degrees) {
  const angle = (degrees * Math.PI) / 180;
  return [3 * Math.cos(angle), 3 * Math.sin(angle)];
}

const OPEN = ", nothing hidden";
const where = ({ set, masked }) => `${set ? ", with the queries elsewhere" : ""}${masked ? "" : OPEN}`;
const LARGE = `Queries and keys ${FAR} times as large`;
const LITTLE = 5e-4; // what rounds to nought
/** A weight or a sum; what is no number is called as the code calls it. */
function small(value) {
  if (Number.isNaN(value)) return "NaN";
  return Math.abs(value) >= 1e5 ? value.toExponential(1).replace("e+", "e") : share(value);
}

/** What was found, in words. */
const TELLS = {
  sum: (found) =>
    found.holds ? "Each row." : `${queryName(found.row)} sums to ${small(found.number)}${where(found)}.`,
  query: ({ holds, number: most, column, asked }) =>
    holds
      ? `The weight of ${keyName(column)} moves by ${small(most)}${OPEN}.`
      : `${asked} queries, and no weight differs.`,
  choice: ({ holds, number: count, column, asked, even, least }) =>
    holds
      ? `${asked} queries prefer ${count} different keys${OPEN}.`
      : even
        ? `None of ${asked} queries prefers a key: each key gets the same.`
        : `All of ${asked} queries prefer ${keyName(column)}${least < LITTLE ? `, some by less than ${LITTLE}` : ""}.`,
  rows: ({ holds, number: most, row }) =>
    holds
      ? "The other queries moved, and no row did."
      : `${queryName(row)} changes by ${small(most)} when the others move${OPEN}.`,
  "hidden weight": ({ holds, number: most, row, column }) =>
    holds
      ? `${keyName(column)} gets 0 from each query.`
      : `${queryName(row)} gives ${small(most)} to ${keyName(column)}, which is hidden.`,
  large: (found) =>
    found.holds
      ? `${LARGE}, and each row sums to one.`
      : `${LARGE}: ${queryName(found.row)} sums to ${small(found.number)}${where(found)}.`,
};

/** Queries to move, and the keys. */
function field(view, get) {
  const { key, mask } = view.data;
  const move = (row, place) => view.set({ row, query: get().query.map((each, i) => (i === row ? place : each)) });
  const board = plane({ label: "The plane of queries and keys", onTap: (place) => move(get().row, place) });
  const layer = (make) => pool(board.layer(), make);
  const [keys, queries] = ["key", "query"].map((kind) => layer(() => mark(kind)));
  const grips = layer((i) =>
    point({ plane: board, onMove: (place) => move(i, place), onFocus: () => view.set({ row: i }) }),
  );
  const hidden = (j) => mask.every((row) => !row[j]);
  const told = legend(["query", "q", "query, to move"], ["key", "k", "key; k5, hollow, is hidden"]);
  return {
    node: html("div", {}, board.node, told.node),
    update({ query, row }) {
      board.update(LIMIT);
      keys(key.length).forEach((item, j) => item.update(keyName(j), { hollow: hidden(j), place: board.place(key[j]) }));
      const marks = queries(query.length);
      grips(query.length).forEach((item, i) => {
        marks[i].update(queryName(i), { hollow: i !== row, place: board.place(query[i]) });
        item.update(query[i], `Query ${queryName(i)}`);
      });
    },
  };
}

function build(view, first) {
  let now = first;
  const { cases, features, key, mask, numbers, properties } = view.data;
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const open = (index) => set({ index, asked: [], accused: [], beside: false });
  const wide = (points) => points.map((each) => [...each, ...Array(features - each.length).fill(0)]);
  const keys = wide(key);
  function accuse(line) {
    const { fault, why, hints } = cases[now.index];
    const found = line === fault && !now.solved.includes(now.index);
    set({ accused: [line], solved: found ? [...now.solved, now.index] : now.solved });
    view.say(line === fault ? `Right. ${why}` : `Not this one. ${hints[line]}`);
  }
  const find = (i, { index, query }) =>
    ask(properties[i][0], cases[index].name, [query, ...SETS].map(wide), keys, mask, numbers);

  const which = slider({
    label: "Exhibit",
    min: 1,
    max: cases.length,
    step: 1,
    onInput: (value) => open(Math.round(value) - 1),
  });
  const beside = toggle({ label: "Show it without the fault beside", onInput: (value) => set({ beside: value }) });
  const points = field({ ...view, set }, () => now);
  const [board, mended] = [0, 1].map(() => map((row) => set({ row })));
  const sentence = {
    rows: now.query.map((_, i) => queryName(i)),
    columns: key.map((_, j) => keyName(j)),
    links: [],
    glosses: [],
    mask,
    leaks: (weight) => `${small(weight)}, though hidden`,
  };
  const intact = { ...sentence, leaks: undefined };
  const lines = html("ol", { class: "attnlib-bug-lines", "aria-label": "Lines to accuse" });
  const offered = pool(lines, (i) => {
    const pick = button({ label: "", onClick: () => accuse(i) });
    return { node: html("li", {}, pick.node), pick };
  });
  const said = html("p", { class: "attnlib-bug-said" });
  const link = html("a", { text: "" });
  link.addEventListener("click", () => {
    // who follows it wants to read the card, which is folded
    const card = document.getElementById(link.hash.slice(1));
    if (card?.matches(".toggle-hidden")) card.querySelector(".toggle-button").click();
  });
  const named = html("p", { class: "attnlib-bug-name" }, html("span", { text: "In the museum: " }), link);
  const next = button({ label: "Next exhibit", onClick: () => open((now.index + 1) % cases.length) });
  const tally = html("span", { class: "attnlib-bug-tally" });
  const asks = html("ul", { class: "attnlib-bug-asks", "aria-label": "Properties to ask for" });
  const answers = properties.map(([, says], i) => {
    const item = button({
      label: says,
      onClick: () => {
        set({ asked: now.asked.includes(i) ? now.asked : [...now.asked, i] });
        view.say(tell(i, now).join(" "));
      },
    });
    const answer = html("span", { class: "attnlib-bug-answer" });
    asks.append(html("li", {}, item.node, answer));
    return { ...item, answer };
  });
  function tell(i, state) {
    const found = find(i, state);
    return [found.holds ? "Yes." : "No.", TELLS[properties[i][0]](found)];
  }

  const signature = html("code", { class: "attnlib-bug-head", text: "def attention(query, key, value, mask=None):" });
  const told = html("div", { class: "attnlib-bug-told" }, said, named);
  const code = html(
    "div",
    {},
    html("p", { class: "attnlib-bug-title", text: "Which line is at fault?" }),
    signature,
    lines,
    told,
  );
  const foot = html("div", { class: "attnlib-buttons" }, next.node, tally);
  const trial = html("div", {}, html("p", { class: "attnlib-bug-title", text: "Ask it" }), asks);
  const figures = html(
    "div",
    { class: "attnlib-maps-below attnlib-bug-maps" },
    beside.node,
    board.node,
    mended.node,
    view.caption,
  );
  view.root.append(
    html("div", { class: "attnlib-controls attnlib-maps-controls" }, which.node),
    html("div", { class: "attnlib-two" }, points.node, figures, code, trial),
    foot,
  );

  return (state) => {
    now = state;
    const { name, lines: all, fault, why, hints } = cases[state.index];
    const [wrong, right] = [false, true].map((is) => weightsOf(name, wide(state.query), keys, mask, numbers, is));
    which.update(state.index + 1, { note: `${state.index + 1} of ${cases.length}` });
    beside.update(state.beside);
    points.update(state);
    const seen = (t, s) => mask[t][s];
    const common = { row: state.row, open: seen };
    board.update({ ...common, sentence, matrix: { name: "What it does", weights: wrong }, weights: wrong[state.row] });
    write(mended.node, { hidden: !state.beside });
    mended.update({
      ...common,
      sentence: intact,
      matrix: { name: "Without the fault", weights: right },
      weights: right[state.row],
    });
    const [accused] = state.accused;
    offered(all.length).forEach(({ pick }, i) => {
      pick.update({ label: all[i] });
      write(pick.node, { "aria-pressed": String(accused === i) });
    });
    const verdict = accused === undefined ? null : accused === fault ? "right" : "wrong";
    const sentenceSaid = { right: `Right. ${why}`, wrong: `Not this one. ${hints[accused]}` }[verdict] ?? "";
    write(said, { text: sentenceSaid, "data-said": verdict });
    write(named, { hidden: verdict !== "right" });
    write(link, { text: name, href: `#exhibit-${name.replaceAll(" ", "-")}` });
    answers.forEach(({ node, answer }, i) => {
      const known = state.asked.includes(i);
      write(node, { "aria-pressed": String(known) });
      const [verdictSaid, reason] = known ? tell(i, state) : ["", ""];
      write(answer, {
        text: known ? `${verdictSaid} ${reason}` : "",
        "data-holds": known ? String(verdictSaid === "Yes.") : null,
      });
    });
    write(tally, { text: `${state.solved.length} of ${cases.length} found` });
    const row = wrong[state.row];
    const total = small(row.reduce((a, b) => a + b, 0));
    const given = row.map((weight, j) => `${keyName(j)} ${small(weight)}`).join(", ");
    view.news(`${queryName(state.row)} at ${pair(state.query[state.row])} gives ${given}; sum ${total}.`);
  };
}

const unnamed = "Your own choice";
const hint = "One of these lines is wrong. Move the queries, ask for properties, then press the line that you accuse.";

export default { build, unnamed, hint };
