// MapReader: eight maps, and of each a question that can be answered by reading it.

import { button, choice, slider } from "./js/controls.js";
import { html, pool, write } from "./js/dom.js";
import { map } from "./js/maps.js";
import { judged } from "./js/math/reading.js";
import { number } from "./js/text.js";

const quoted = (word) => `“\u2068${word}\u2069”`;

function build(view, first) {
  let now = first;
  const questions = view.data.questions.map((question) => {
    const { circle, between, sentence } = question;
    return { ...question, sentence: { ...sentence, between, linked: circle || undefined } };
  });
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const open = (index) => {
    const [row, column] = questions[index].at;
    set({ index, row, column, matrix: "", answer: [] });
  };
  function answer(given) {
    const [verdict, said] = judged(questions[now.index], given);
    const solved = verdict === "right" && !now.solved.includes(now.index) ? [...now.solved, now.index] : now.solved;
    set({ answer: given, solved });
    view.say(`${verdict === "right" ? "Right." : "Not yet."} ${said}`);
  }
  const move = (changes) => set(questions[now.index].kind === "choice" ? changes : { ...changes, answer: [] });

  const which = slider({
    label: "Map",
    min: 1,
    max: questions.length,
    step: 1,
    onInput: (value) => open(Math.round(value) - 1),
  });
  const matrix = choice({ label: "Shown", onInput: (value) => set({ matrix: value }) });
  const board = map(
    (row) => move({ row }),
    (column) => move({ column }),
  );
  const asks = html("p", { class: "attnlib-reader-asks" });
  const choices = html("div", { class: "attnlib-reader-choices", role: "group", "aria-label": "Answers" });
  const offered = pool(choices, (i) => button({ label: "", onClick: () => answer([i]) }));
  const check = button({
    label: "",
    onClick: () => answer(questions[now.index].kind === "row" ? [now.row] : [now.row, now.column]),
  });
  const next = button({ label: "Next map", onClick: () => open((now.index + 1) % questions.length) });
  const said = html("p", { class: "attnlib-reader-said" });
  const tally = html("span", { class: "attnlib-reader-tally" });
  const foot = html("div", { class: "attnlib-buttons" }, next.node, tally);
  const told = html("div", { class: "attnlib-reader-told" }, said);
  const side = html("div", { class: "attnlib-side" }, choices, html("div", {}, check.node), told, foot);
  const figure = html("div", { class: "attnlib-maps-below" }, board.node, view.caption);
  const controls = html("div", { class: "attnlib-controls attnlib-maps-controls" }, which.node, matrix.node);
  view.root.append(controls, asks, html("div", { class: "attnlib-two attnlib-reader" }, figure, side));

  return (state) => {
    now = state;
    const question = questions[state.index];
    const { between, kind, sentence } = question;
    const named = sentence.matrices.find(({ name }) => name === state.matrix) ?? sentence.matrices[0];
    const weights = named.weights[state.row];
    which.update(state.index + 1, { note: `${state.index + 1} of ${questions.length}: ${question.name}` });
    matrix.update(named.name, { options: sentence.matrices.map(({ name }) => [name, name]) });
    write(asks, { text: question.asks });
    const seen = (t, s) => sentence.mask[t]?.[s] ?? true;
    board.update({ sentence, matrix: named, row: state.row, column: state.column, weights, open: seen });
    const [row, column] = [sentence.rows[state.row], sentence.columns[state.column]].map(quoted);
    offered(question.choices.length).forEach((item, i) => {
      item.update({ label: question.choices[i] });
      write(item.node, { "aria-pressed": String(state.answer[0] === i) });
    });
    for (const part of [choices, check.node]) write(part, { hidden: (part === choices) !== (kind === "choice") });
    check.update({ label: kind === "row" ? `Answer: the row ${row}` : `Answer: ${row} ${between} ${column}` });
    const [verdict, words] = judged(question, state.answer);
    write(said, {
      text: verdict ? `${verdict === "right" ? "Right." : "Not yet."} ${words}` : "",
      "data-said": verdict || null,
    });
    write(tally, { text: `${state.solved.length} of ${questions.length} answered` });
    const total = named.weights.reduce((sum, values) => sum + values[state.column], 0);
    view.news(
      `The row ${row} sums to ${number(
        weights.reduce((a, b) => a + b, 0),
        2,
      )}, the column ${column} to ${number(total, 2)}.`,
    );
  };
}

const unnamed = "Your own choice";
const hint = "Read each map before you answer: click a cell or go there with the arrows.";

export default { build, unnamed, hint };
