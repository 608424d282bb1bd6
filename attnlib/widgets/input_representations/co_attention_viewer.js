// CoAttentionViewer: a scene and a question that look at each other, a step at a time, and the answer that comes of it.

import { button, choice, slider } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { addressOf, panel } from "../js/image.js";
import { kept } from "../js/kept.js";
import { unpacked } from "../js/math/bitmap.js";
import { answered, network, regions } from "../js/math/coattention.js";
import { largest, steps } from "../js/stepper.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const STEPS = {
  parallel: ["the affinity", "the weights of both sides", "the answer"],
  alternating: ["the first reading", "the look at the scene", "the second reading", "the answer"],
};
const KINDS = [
  ["parallel", "in parallel"],
  ["alternating", "in turn"],
];
const NONE = { text: "", part: 0, before: 0 };

/** The scene; over each cell its number, its weight, and a veil that is the thicker the less weight it has. */
function board() {
  const picture = panel({ title: "Scene" });
  const cells = pool(picture.layer("attnlib-co-cells"), () => {
    const [veil, edge, text] = [
      svg("rect", { class: "attnlib-co-veil" }),
      svg("rect", { class: "attnlib-co-edge" }),
      svg("text"),
    ];
    return { node: svg("g", {}, veil, edge, text), veil, edge, text };
  });
  return {
    node: picture.node,
    update({ told, image }, cell, weights) {
      picture.update({
        src: addressOf(image),
        ...image,
        alt: told,
        title: weights ? "Scene: weight of each cell" : "Scene: its cells",
      });
      const [side, across] = [cell * picture.unit(), Math.floor(image.width / cell)];
      const most = weights && Math.max(...weights);
      cells(across * Math.floor(image.height / cell)).forEach(({ veil, edge, text }, n) => {
        const box = { x: (n % across) * side, y: Math.floor(n / across) * side, width: side, height: side };
        write(veil, { ...box, "fill-opacity": weights ? 0.7 * (1 - weights[n] / most) : 0 });
        write(edge, { ...box, "data-most": Boolean(weights) && weights[n] === most });
        write(text, { x: box.x + 8, y: box.y + 24, text: weights ? `${n + 1}: ${number(weights[n])}` : n + 1 });
      });
    },
  };
}

/** A line to write a question of one's own in. */
function line({ onAsk }) {
  const id = uid();
  const input = html("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  const alert = html("p", { class: "attnlib-alert", role: "alert", hidden: true });
  const known = html("p", { class: "attnlib-co-known" });
  const say = (text) => write(alert, { text, hidden: !text });
  const ask = button({ label: "Ask", onClick: () => say(onAsk(input.value)) });
  input.addEventListener("keydown", ({ key }) => key === "Enter" && say(onAsk(input.value)));
  const row = html(
    "div",
    { class: "attnlib-co-line" },
    html("label", { for: id, text: "Your question" }),
    input,
    ask.node,
  );
  let shown = null;
  return {
    node: html("div", { class: "attnlib-co-own" }, row, alert, known),
    update({ words, model }) {
      const text = words.join(" ");
      if (text !== shown) {
        input.value = text;
        shown = text;
        say("");
      }
      write(known, { text: `It knows: ${model.words.join(", ")}` });
    },
  };
}

function build(view, first) {
  let now = first;
  let pairs = null; // the table of affinities; its columns are the cells
  const read = {
    parallel: kept((model) => network(model, "parallel")),
    alternating: kept((model) => network(model, "alternating")),
  };
  const seen = kept((model) => kept((image) => regions(read.parallel(model), unpacked(image))));
  const questions = ({ scenes, scene }) => scenes[scene].questions;
  function set(changes) {
    now = { ...now, ...changes };
    now.step = Math.min(now.step, STEPS[now.kind].length);
    view.set({ ...changes, step: now.step });
  }
  function onAsk(text) {
    const words = text
      .toLowerCase()
      .replace(/[?.,!]/g, " ")
      .split(/\s+/)
      .filter(Boolean);
    if (!words.length) return "Write a question first.";
    if (words.length > 16) return "At most 16 words, please.";
    const strange = words.filter((word) => !now.model.words.includes(word));
    if (strange.length)
      return `It does not know ${strange.map((word) => `“${word}”`).join(", ")}: its words are listed below.`;
    set({ words });
    return "";
  }
  const drawing = board();
  const scene = choice({
    label: "Scene",
    onInput: (value) => set({ scene: Number(value), words: now.scenes[value].questions[0].split(" ") }),
  });
  const listed = choice({ label: "Question", onInput: (value) => value && set({ words: value.split(" ") }) });
  const kind = choice({ label: "Co-attention", onInput: (value) => set({ kind: value }) });
  const taken = slider({ label: "Step", min: 0, max: 4, step: 1, onInput: (value) => set({ step: value }) });
  const own = line({ onAsk });
  const walk = steps({
    forward: "Next step",
    onWalk(count) {
      set({ step: Math.min(count, STEPS[now.kind].length) });
      return now.step;
    },
  });
  walk.node.append(button({ label: "To the answer", onClick: () => set({ step: STEPS[now.kind].length }) }).node);
  const words = table({
    columns: ["Word", "Weight"],
    bars: 1,
    kind: "attnlib-looks attnlib-co-words",
    caption: "Weight of the phrase that begins at each word",
  });
  const answers = table({
    columns: ["Answer", "Probability"],
    bars: 1,
    kind: "attnlib-looks attnlib-co-answers",
    caption: "Answer",
  });
  const holder = html("div", { class: "attnlib-co-affinity" });
  const right = html("div", { class: "attnlib-co-right" }, words.node, answers.node);
  const controls = html("div", { class: "attnlib-controls" }, scene.node, listed.node, kind.node, taken.node);
  view.root.append(
    controls,
    own.node,
    html("div", { class: "attnlib-co" }, drawing.node, right),
    view.caption,
    walk.node,
    holder,
  );

  return (state) => {
    const { scenes, model, step } = state;
    now = state;
    const { name, told: shows, image, answers: truths } = scenes[state.scene];
    const across = Math.floor(image.width / model.cell) * Math.floor(image.height / model.cell);
    if (!pairs || pairs.across !== across) {
      const columns = ["Word", ...Array.from({ length: across }, (_, n) => String(n + 1))];
      pairs = {
        across,
        ...table({
          columns,
          kind: "attnlib-co-pairs",
          caption: "Affinity of the phrase that begins at each word with each cell, from −1 to 1",
        }),
      };
      holder.replaceChildren(pairs.node);
    }
    const found = answered(
      read[state.kind](model),
      seen(model)(image),
      state.words.map((word) => model.words.indexOf(word)),
    );
    const parallel = state.kind === "parallel";
    const text = state.words.join(" ");
    const looks = step > 1;
    const second = parallel ? step > 1 : step > 2;
    const weights = second ? found.question.weights : !parallel && step > 0 ? found.first.weights : null;
    const ended = step === STEPS[state.kind].length;
    scene.update(state.scene, { options: scenes.map((each, n) => [String(n), each.name]) });
    const asked = questions(state);
    const all = asked.map((each) => [each, `${each}?`]);
    listed.update(text, { options: asked.includes(text) ? all : [[text, "your own"], ...all] });
    kind.update(state.kind, { options: KINDS });
    own.update(state);
    drawing.update({ told: shows, image }, model.cell, looks ? found.image.weights : null);
    const best = weights ? largest(weights) : -1;
    const bar = (t) => ({
      text: share(weights[t]),
      part: weights[t],
      before: second && !parallel ? found.first.weights[t] : 0,
    });
    const caption = `Weight of the phrase that begins at each word${second && !parallel ? "; outlined: at the first reading" : ""}`;
    words.update(
      state.words.map((word, t) => [word, weights ? bar(t) : NONE]),
      { caption, shown: (t) => t === best },
    );
    const order = found.belief
      .map((p, n) => [p, n])
      .sort((a, b) => b[0] - a[0])
      .slice(0, 3);
    const row = ([p, n]) => [model.answers[n], { text: share(p), part: p, before: 0 }];
    answers.update(ended ? order.map(row) : [["?", NONE]], { shown: (n) => ended && n === 0 });
    write(holder, { hidden: !parallel || step === 0 });
    if (parallel && step > 0)
      pairs.update(state.words.map((word, t) => [word, ...found.affinity[t].map((value) => number(value, 1))]));
    const [done, count] = [STEPS[state.kind][step - 1], STEPS[state.kind].length];
    taken.update(step, { most: count, note: `${step} of ${count}${done ? `: ${done}` : ""}` });
    walk.update(step, ended);
    const truth = truths[asked.indexOf(text)];
    const next = ended ? "" : `Next: ${STEPS[state.kind][step]}.`;
    const where = looks
      ? `Most weight on cell ${largest(found.image.weights) + 1} (${share(Math.max(...found.image.weights))})`
      : "";
    const listens = weights
      ? `${where ? " and on" : "Most weight on"} “${state.words.slice(best, best + 3).join(" ")}” (${share(weights[best])})`
      : "";
    const told =
      where || listens
        ? `${where}${listens}.`
        : step
          ? "Each phrase has met each cell; there are no weights yet."
          : `${name}.`;
    const answer = ended
      ? ` It answers ${model.answers[order[0][1]]} (${share(order[0][0])})${truth ? `; right is ${truth}` : ""}.`
      : "";
    view.news(`${told}${answer}`, next);
  };
}

const unnamed = "Another question";
const hint = "Ask something else, or change to the other kind: does it look where it should?";

export default { build, unnamed, hint };
