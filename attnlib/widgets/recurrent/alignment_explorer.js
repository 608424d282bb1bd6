// AlignmentExplorer: step through the target words of a sentence pair; the source words light up by their weight, and
// the links that people drew run between the two.

import { slider, toggle } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { alignmentError, linksOf } from "../js/math/alignment.js";
import { number } from "../js/text.js";

const CELL = 26; // of the heat map
const LABELS = 18; // words a side up to which the heat map names them
const SHADES = 16;

const share = (weight) => (weight > 0 && weight < 0.0005 ? "< 0.001" : number(weight, 3));
/** A word in quotation marks, of whichever direction, in a sentence that runs from left to right. */
const quoted = (word) => `“\u2068${word}\u2069”`;
const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join(""));

/** "rtl" where the first letter of the words is written from right to left. */
function direction(words) {
  const letter = words.join(" ").match(/\p{L}/u)?.[0] ?? "";
  return /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(letter) ? "rtl" : "ltr";
}

/** A labelled list whose options follow from `source`: `update(source, current)`, `pairs(source)` gives [value, words]. */
function picker({ label, pairs, onInput }) {
  const id = uid();
  const select = html("select", { id });
  const options = pool(select, () => ({ node: html("option") }));
  select.addEventListener("change", () => onInput(select.value));
  let drawn = null;
  return {
    node: html("div", { class: "attnlib-control" }, html("label", { for: id, text: label }), select),
    update(source, current) {
      if (source !== drawn) {
        const all = pairs(source);
        options(all.length).forEach(({ node }, i) => write(node, { value: all[i][0], text: all[i][1] }));
      }
      drawn = source;
      if (select.value !== String(current)) select.value = current;
    },
  };
}

// ------------------------------------------------------------------------------------------- the two rows of words

/** Target words to step through, source words under them, links between; `onWord(t)` is told of another word. */
function sentencePair(onWord) {
  const links = svg("svg", { class: "attnlib-align-links", "aria-hidden": "true" });
  const line = (name) => links.appendChild(svg("path", { class: name }));
  const [others, people, guess, ends, tips] = ["others", "people", "guess", "ends", "tips"].map((name) => line(`attnlib-align-${name}`));
  const list = html("div", { class: "attnlib-align-words", role: "listbox", tabindex: 0, "aria-label": "Target words",
    "aria-orientation": "horizontal" });
  const base = uid();
  const targets = pool(list, (t) => ({ node: html("span", { class: "attnlib-align-word", role: "option", id: `${base}-${t}`, "data-word": t }) }));
  const below = html("ul", { class: "attnlib-align-words attnlib-align-source", "aria-label": "Source words" });
  const sources = pool(below, () => {
    const glow = html("span", { class: "attnlib-align-glow" });
    const text = html("span", { class: "attnlib-align-text" });
    const bar = html("span", { class: "attnlib-align-bar" });
    const value = html("span", { class: "attnlib-align-value" });
    return { node: html("li", { class: "attnlib-align-word" }, glow, text, html("span", { class: "attnlib-align-track" }, bar), value),
      glow, text, bar, value };
  });
  const node = html("div", { class: "attnlib-align-pair" }, links, list, below);

  let words = 1;
  let word = 0;
  function choose(t) {
    const next = Math.min(Math.max(t, 0), words - 1);
    if (next === word) return;
    word = next; // the next key may come before the next frame
    onWord(next);
  }
  const under = (event) => event.target.closest("[data-word]");
  list.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && under(event)) choose(Number(under(event).dataset.word));
  });
  list.addEventListener("click", (event) => under(event) && choose(Number(under(event).dataset.word)));
  list.addEventListener("keydown", (event) => {
    const forward = list.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const step = { ArrowLeft: -1, ArrowRight: -1, [forward]: 1, ArrowUp: -1, ArrowDown: 1, Home: -words, End: words }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(word + step);
  });

  let shown = null;
  let places = null;
  /** Where lines begin and end: under each target word, over each source word. Read once for each layout. */
  function measure() {
    const middle = ({ node: own }, bottom) => [own.offsetLeft + own.offsetWidth / 2, own.offsetTop + (bottom ? own.offsetHeight : 0)];
    const { sentence } = shown;
    places = {
      down: targets(sentence.target.length).map((item) => middle(item, true)),
      up: sources(sentence.source.length).map((item) => middle(item, false)),
      size: [node.offsetWidth, node.offsetHeight],
    };
    const lines = [places.down, places.up].map((ends) => new Set(ends.map(([, y]) => y)).size);
    write(links, { "data-crowded": lines[0] + lines[1] > 3 });
  }
  function draw() {
    if (!places) measure();
    const [width, height] = places.size;
    write(links, { viewBox: `0 0 ${width} ${height}`, width, height });
    const { sentence, state, best } = shown;
    const curve = ([t, s]) => {
      const [[x1, y1], [x2, y2]] = [places.down[t], places.up[s]];
      const bend = (y1 + y2) / 2;
      return `M${x1} ${y1 + 5}C${x1} ${bend} ${x2} ${bend} ${x2} ${y2 - 5}`;
    };
    const ring = ([x, y], r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    const diamond = ([x, y]) => `M${x} ${y - 6}l5 6l-5 6l-5 -6z`;
    const own = sentence.links.filter(([t]) => t === state.word);
    write(others, { d: state.every_link ? sentence.links.filter(([t]) => t !== state.word).map(curve).join("") : "" });
    write(people, { d: own.map(curve).join("") });
    write(guess, { d: best < 0 ? "" : curve([state.word, best]) });
    const [down, up] = [([x, y]) => [x, y + 5], ([x, y]) => [x, y - 5]];
    write(ends, { d: own.map(([t, s]) => ring(down(places.down[t]), 4) + ring(up(places.up[s]), 4)).join("") });
    write(tips, { d: best < 0 ? "" : diamond(up(places.up[best])) });
  }
  // Comes once the view is in the page, and whenever its width or a font changes where words stand.
  new ResizeObserver(() => {
    places = null;
    if (shown) draw();
  }).observe(node);

  return {
    node,
    update(state, sentence, row, best) {
      words = sentence.target.length;
      word = state.word;
      if (shown?.sentence !== sentence) places = null;
      shown = { state, sentence, best };
      for (const [own, texts, language] of [[list, sentence.target, sentence.target_language], [below, sentence.source, sentence.source_language]])
        write(own, { dir: direction(texts), lang: language || null });
      targets(words).forEach(({ node: item }, t) => write(item, { text: sentence.target[t], "aria-selected": t === word ? "true" : "false" }));
      write(list, { "aria-activedescendant": `${base}-${word}` });
      const linked = new Set(sentence.links.flatMap(([t, s]) => (t === word ? [s] : [])));
      sources(sentence.source.length).forEach((item, s) => {
        const size = `--share:${Math.min(row[s], 1).toFixed(4)}`;
        write(item.node, { "data-linked": linked.has(s), "data-best": s === best });
        write(item.text, { text: sentence.source[s], "data-text": sentence.source[s] });
        write(item.glow, { style: size });
        write(item.bar, { style: size });
        write(item.value, { text: row[s] < 0.005 ? "0" : number(row[s]) });
      });
      if (node.isConnected) draw();
    },
  };
}

// ------------------------------------------------------------------------------------------------- the heat map

/** All weights of the sentence, queries down and keys across, people's links as circles; a row can be pointed at. */
function heatMap(onWord) {
  const picture = svg("svg", { class: "attnlib-align-map", role: "img" });
  const layer = (name) => picture.appendChild(svg("g", { class: name, "aria-hidden": "true" }));
  const shades = Array.from({ length: SHADES }, (_, i) => svg("path", { "fill-opacity": (i + 1) / SHADES }));
  layer("attnlib-align-cells").append(...shades);
  const frame = layer("attnlib-align-frame").appendChild(svg("rect"));
  const marks = layer("attnlib-align-marks");
  const circles = ["attnlib-align-halo", "attnlib-align-ring"].map((name) => marks.appendChild(svg("path", { class: name })));
  const row = layer("attnlib-align-row").appendChild(svg("rect"));
  const names = ["attnlib-align-rows", "attnlib-align-columns"].map((name) => pool(layer(name), () => ({ node: svg("text") })));
  let board = null;
  let drawn = [];
  const pick = (event) => {
    const box = picture.getBoundingClientRect();
    const t = Math.floor((((event.clientY - box.top) / box.height) * board.height - board.top) / board.cell);
    if (t >= 0 && t < board.rows) onWord(t);
  };
  picture.addEventListener("pointermove", (event) => event.pointerType === "mouse" && pick(event));
  picture.addEventListener("click", pick);

  function lay(sentence, weights, name) {
    const [rows, columns] = [sentence.target.length, sentence.source.length];
    const named = Math.max(rows, columns) <= LABELS;
    const longest = (words) => Math.min(Math.max(...words.map((word) => [...word].length)), 16);
    const cell = named ? CELL : Math.max(9, 420 / Math.max(rows, columns));
    const left = named ? 14 + 8.2 * longest(sentence.target) : 2;
    const top = named ? 16 + 6.4 * longest(sentence.source) : 2;
    board = { rows, cell, top, left, height: top + rows * cell + 2, width: left + columns * cell + (named ? 40 : 2) };
    const backwards = direction(sentence.source) === "rtl";
    const x = (s) => left + (backwards ? columns - 1 - s : s) * cell;
    const paths = shades.map(() => []);
    weights.forEach((values, t) => values.forEach((weight, s) => {
      const shade = Math.round(Math.min(weight, 1) * SHADES);
      if (shade) paths[shade - 1].push(`M${x(s).toFixed(1)} ${(top + t * cell).toFixed(1)}h${cell}v${cell}h${-cell}z`);
    }));
    shades.forEach((path, i) => write(path, { d: paths[i].join("") }));
    const r = Math.min(6, cell / 3);
    const rings = sentence.links.map(([t, s]) =>
      `M${x(s) + cell / 2 - r} ${top + (t + 0.5) * cell}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`).join("");
    for (const circle of circles) write(circle, { d: rings });
    write(frame, { x: left, y: top, width: columns * cell, height: rows * cell });
    const short = (word) => ([...word].length > 16 ? `${[...word].slice(0, 15).join("")}…` : word);
    names[0](named ? rows : 0).forEach(({ node }, t) => write(node, { x: left - 8, y: top + (t + 0.5) * cell + 5,
      "text-anchor": "end", text: short(sentence.target[t]), lang: sentence.target_language || null }));
    names[1](named ? columns : 0).forEach(({ node }, s) => write(node, { text: short(sentence.source[s]), lang: sentence.source_language || null,
      transform: `translate(${x(s) + cell / 2 + 4} ${top - 7}) rotate(-50)` }));
    write(picture, { viewBox: `0 0 ${board.width} ${board.height}`, style: `max-width:${Math.round(board.width)}px`,
      "aria-label": `Weights of ${name}: ${rows} target words down, ${columns} source words across; circles are people's links` });
  }
  return {
    node: picture,
    update(state, sentence, weights) {
      if (drawn[0] !== sentence || drawn[1] !== weights) lay(sentence, weights, state.aligner);
      drawn = [sentence, weights];
      const { left, top, cell } = board;
      write(row, { x: left - 2, y: top + state.word * cell - 1, width: sentence.source.length * cell + 4, height: cell + 2 });
    },
  };
}

// ------------------------------------------------------------------------------------------------------ the table

/** Every aligner's error on the sentence. */
function scoreTable() {
  const body = html("tbody");
  const rows = pool(body, () => {
    const head = html("th", { scope: "row" });
    const cells = Array.from({ length: 4 }, () => html("td", { class: "attnlib-number" }));
    return { node: html("tr", {}, head, ...cells), head, cells };
  });
  const columns = ["Aligner", "Agreed", "Precision", "Recall", "Error"].map((text, i) =>
    html("th", { scope: "col", text, class: i ? "attnlib-number" : null }));
  const caption = html("caption");
  const node = html("table", { class: "attnlib-table attnlib-align-scores" }, caption, html("thead", {}, html("tr", {}, ...columns)), body);
  let drawn = null;
  return {
    node,
    update(state, sentence) {
      const names = Object.keys(sentence.weights).sort();
      const all = rows(names.length);
      if (drawn !== sentence) {
        write(caption, { text: `Links of the largest weights in this sentence against those that people drew (${sentence.links.length})` });
        names.forEach((name, i) => {
          const found = linksOf(sentence.weights[name]);
          const { agreed, precision, recall, error } = alignmentError(found, sentence.links);
          write(all[i].head, { text: name });
          [`${agreed} of ${found.length}`, ...[precision, recall, error].map((value) => number(value, 3))]
            .forEach((text, j) => write(all[i].cells[j], { text }));
        });
      }
      drawn = sentence;
      names.forEach((name, i) => write(all[i].node, { "data-chosen": name === state.aligner }));
    },
  };
}

// ----------------------------------------------------------------------------------------------------- the whole

function build(view, first) {
  let current = first;
  const setWord = (word) => word !== current.word && view.set({ word });
  const sentences = picker({ label: "Sentence", pairs: (all) => all.map(({ title, key }, i) => [i, title || key || `Sentence ${i + 1}`]),
    onInput: (value) => view.set({ index: Number(value), word: 0 }) });
  const aligners = picker({ label: "Aligner", pairs: ({ weights }) => Object.keys(weights).sort().map((name) => [name, name]),
    onInput: (aligner) => view.set({ aligner }) });
  let steps = null; // its range is the sentence's, so it is made again for another length
  const place = html("div");
  const every = toggle({ label: "People's links of all words", onInput: (value) => view.set({ every_link: value }) });
  const pair = sentencePair(setWord);
  const caption = html("p", { class: "attnlib-align-caption" });
  const legend = html("p", { class: "attnlib-align-legend", text:
    "Solid lines and frames: people's links. Dashed line and bold: the largest weight. Bars and numbers: the weights." });
  const map = heatMap(setWord);
  const scores = scoreTable();
  view.root.append(html("div", { class: "attnlib-controls" }, sentences.node, aligners.node, place, every.node),
    pair.node, caption, legend, html("div", { class: "attnlib-align-below" }, map.node, scores.node));

  let said = "";
  return (given) => {
    const sentence = given.sentences[given.index];
    const matrix = sentence.weights[given.aligner];
    const state = { ...given, word: Math.min(given.word, sentence.target.length - 1) };
    current = state;
    const row = matrix[state.word];
    const best = linksOf([row])[0]?.[1] ?? -1;
    sentences.update(state.sentences, state.index);
    aligners.update(sentence, state.aligner);
    const last = sentence.target.length;
    if (steps?.last !== last) {
      const control = slider({ label: "Target word", min: 1, max: Math.max(last, 2), step: 1, onInput: (value) => setWord(Math.min(Math.round(value), last) - 1) });
      steps = { last, control };
      place.replaceChildren(control.node);
    }
    steps.control.update(state.word + 1, { disabled: last < 2, note: `${state.word + 1} of ${last}: \u2068${sentence.target[state.word]}\u2069` });
    every.update(state.every_link);
    pair.update(state, sentence, row, best);
    map.update(state, sentence, matrix);
    scores.update(state, sentence);

    const order = row.map((_, s) => s).sort((a, b) => row[b] - row[a]).slice(0, 3).filter((s) => row[s] > 0);
    const seen = order.map((s) => `${quoted(sentence.source[s])} ${share(row[s])}`);
    const linked = sentence.links.flatMap(([t, s]) => (t === state.word ? [quoted(sentence.source[s])] : []));
    const rest = 1 - row.reduce((a, b) => a + b, 0);
    const news = `${quoted(sentence.target[state.word])} looks at ${listed(seen) || "nothing"}${rest > 0.01 ? `, and with ${share(rest)} at no word` : ""}. `
      + `People link it to ${listed(linked) || "nothing"}.`;
    write(caption, { text: news });
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own choice";
const hint = "Step through the target words: where do the largest weight and people's links part?";

export default { build, unnamed, hint };
