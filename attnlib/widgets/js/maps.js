// Named matrices of weights between two lists of tokens, seen a row at a time: the family of Maps and its kin.
//
// The row's token is chosen in the upper list; the columns' tokens below light up by its weights, and lines run to its
// largest weight and to what people linked. Under them all of the matrix, and one to compare, as maps to walk in.

import { choice, slider, toggle } from "./controls.js";
import { html, pool, svg, uid, write } from "./dom.js";
import { alignmentError, linksOf } from "./math/alignment.js";
import { contextOf } from "./math/attend.js";
import { table } from "./table.js";
import { number, pair, share } from "./text.js";

const CELL = 26; // of a map
const LABELS = 18; // tokens a side up to which a map names them
const SHADES = 16;
const BACKWARDS = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** A word in quotation marks, of whichever direction, in a sentence that runs from left to right. */
const quoted = (word) => `“\u2068${word}\u2069”`;
const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join(""));
const ring = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const top = (weights) => linksOf([weights])[0]?.[1] ?? -1; // the first of the largest, if above 0
const within = (value, most) => Math.min(Math.max(value, 0), most);

/** "rtl" where the first letter of the words is written from right to left. */
function direction(words) {
  const letter = words.join(" ").match(/\p{L}/u)?.[0] ?? "";
  return BACKWARDS.test(letter) ? "rtl" : "ltr";
}

/** What a state looks at: the sentence, the matrix, the one compared or null, the row and what is linked to it. */
function seen({ sentences, index, row, matrix: name, compare, every_link: every }) {
  const sentence = sentences[index];
  const named = (wanted) => sentence.matrices.find((each) => each.name === wanted);
  const matrix = named(name) ?? sentence.matrices[0];
  const weights = matrix.weights[row];
  const linked = sentence.links.flatMap(([t, s]) => (t === row ? [s] : []));
  const open = (t, s) => sentence.mask[t]?.[s] ?? true;
  return { sentence, matrix, other: named(compare) ?? null, row, weights, linked, open, every, best: top(weights) };
}

// ------------------------------------------------------------------------------------------- the two lists of tokens

/** Tokens to step through, those looked at under them, lines between; `onRow(t)` is told of another one. */
function tokens(onRow) {
  const lines = svg("svg", { class: "attnlib-maps-lines", "aria-hidden": "true" });
  const [others, people, guess, ends, tips] = ["others", "people", "guess", "ends", "tips"].map((name) =>
    lines.appendChild(svg("path", { class: `attnlib-maps-${name}` })));
  const list = html("div", { class: "attnlib-maps-tokens", role: "listbox", tabindex: 0 });
  const base = uid();
  const option = { class: "attnlib-maps-token", role: "option" };
  const rows = pool(list, (t) => ({ node: html("span", { ...option, id: `${base}-${t}`, "data-row": t }) }));
  const below = html("ul", { class: "attnlib-maps-tokens attnlib-maps-columns" });
  const columns = pool(below, () => {
    const [glow, text, bar, ghost, value, second] = ["glow", "text", "bar", "ghost", "value", "value"].map((name) =>
      html("span", { class: `attnlib-maps-${name}` }));
    const track = html("span", { class: "attnlib-maps-track" }, bar, ghost);
    const node = html("li", { class: "attnlib-maps-token" }, glow, text, track, value, second);
    return { node, glow, text, bar, ghost, value, second };
  });
  const node = html("div", { class: "attnlib-maps-pair" }, lines, list, below);

  let count = 1;
  let row = 0;
  function choose(t) {
    const next = within(t, count - 1);
    if (next === row) return;
    row = next; // the next key may come before the next frame
    onRow(next);
  }
  const under = (event) => event.target.closest("[data-row]");
  list.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && under(event)) choose(Number(under(event).dataset.row));
  });
  list.addEventListener("click", (event) => under(event) && choose(Number(under(event).dataset.row)));
  list.addEventListener("keydown", (event) => {
    const forward = list.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const across = { ArrowLeft: -1, ArrowRight: -1, [forward]: 1 };
    const step = { ...across, ArrowUp: -1, ArrowDown: 1, Home: -count, End: count }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(row + step);
  });

  let shown = null;
  let places = null;
  /** Where lines begin and end: under each upper token, over each lower one. Read once for each layout. */
  function measure() {
    const middle = ({ node: own }, part) =>
      [own.offsetLeft + own.offsetWidth / 2, own.offsetTop + part * own.offsetHeight];
    const { sentence } = shown;
    places = {
      down: rows(sentence.rows.length).map((item) => middle(item, 1)),
      up: columns(sentence.columns.length).map((item) => middle(item, 0)),
      size: [node.offsetWidth, node.offsetHeight],
    };
    const levels = [places.down, places.up].map((all) => new Set(all.map(([, y]) => y)).size);
    write(lines, { "data-crowded": levels[0] + levels[1] > 3 });
  }
  function draw() {
    if (!places) measure();
    const [width, height] = places.size;
    write(lines, { viewBox: `0 0 ${width} ${height}`, width, height });
    const { sentence, row: own, best, linked, every } = shown;
    const curve = ([t, s]) => {
      const [[x1, y1], [x2, y2]] = [places.down[t], places.up[s]];
      const bend = (y1 + y2) / 2;
      return `M${x1} ${y1 + 5}C${x1} ${bend} ${x2} ${bend} ${x2} ${y2 - 5}`;
    };
    const tip = ([x, y], by) => ring(x, y + by, 4);
    write(others, { d: every ? sentence.links.filter(([t]) => t !== own).map(curve).join("") : "" });
    write(people, { d: linked.map((s) => curve([own, s])).join("") });
    write(guess, { d: best < 0 ? "" : curve([own, best]) });
    write(ends, { d: linked.map((s) => tip(places.down[own], 5) + tip(places.up[s], -5)).join("") });
    write(tips, { d: best < 0 ? "" : `M${places.up[best].join(" ")}m0 -11l5 6l-5 6l-5 -6z` });
  }
  // Comes once the view is in the page, and whenever its width or a font changes where tokens stand.
  new ResizeObserver(() => {
    places = null;
    if (shown) draw();
  }).observe(node);

  return {
    node,
    update(found, names) {
      const { sentence, other, weights, best, linked, open } = found;
      if (shown?.sentence !== sentence || !shown.other !== !other) places = null;
      shown = found;
      row = found.row;
      count = sentence.rows.length;
      [[list, "row"], [below, "column"]].forEach(([side, kind], i) =>
        write(side, {
          dir: direction(sentence[`${kind}s`]),
          lang: sentence[`${kind}_language`] || null,
          "aria-label": `${names[i]}s`,
        }));
      const chosen = (t) => ({ text: sentence.rows[t], "aria-selected": String(t === row) });
      rows(count).forEach((item, t) => write(item.node, chosen(t)));
      write(list, { "aria-activedescendant": `${base}-${row}` });
      const second = other?.weights[row];
      columns(sentence.columns.length).forEach((item, s) => {
        const size = (weight) => ({ style: `--share:${weight.toFixed(4)}` });
        const shut = !open(row, s);
        write(item.node, { "data-linked": linked.includes(s), "data-best": s === best, "data-shut": shut });
        write(item.text, { text: sentence.columns[s], "data-text": sentence.columns[s] });
        write(item.glow, size(weights[s]));
        write(item.bar, size(weights[s]));
        write(item.value, { text: shut ? "hidden" : share(weights[s]) });
        write(item.ghost, { hidden: !second, ...size(second?.[s] ?? 0) });
        write(item.second, { hidden: !second, text: second ? `(${share(second[s])})` : "" });
      });
      if (node.isConnected) draw();
    },
  };
}

// ------------------------------------------------------------------------------------------------------------- the map

/** All weights of a matrix, people's links circled, what is hidden crossed out; mouse, finger and arrows walk in it. */
function map(onRow) {
  const said = { role: "slider", "aria-roledescription": "map", "aria-valuemin": 1 };
  const picture = svg("svg", { class: "attnlib-maps-map", tabindex: 0, ...said });
  const layer = (name) => picture.appendChild(svg("g", { class: `attnlib-maps-${name}` }));
  const shades = Array.from({ length: SHADES }, (_, i) => svg("path", { "fill-opacity": (i + 1) / SHADES }));
  layer("cells").append(...shades);
  const [shut, frame] = [svg("path"), svg("rect")];
  layer("shut").append(shut);
  layer("frame").append(frame);
  const marks = layer("marks");
  const circles = ["halo", "ring"].map((name) => marks.appendChild(svg("path", { class: `attnlib-maps-${name}` })));
  const [band, cursor] = [svg("rect"), svg("rect", { class: "attnlib-maps-cursor" })];
  layer("row").append(band, cursor);
  const labels = ["row-names", "column-names"].map((name) => pool(layer(name), () => ({ node: svg("text") })));
  const caption = html("figcaption");
  const reading = html("p", { class: "attnlib-maps-reading", "aria-hidden": "true" });
  const node = html("figure", {}, caption, picture, reading);
  let board = null;
  let shown = null;
  let drawn = [];
  let column = null; // where the reader has gone; until then, where the row looks most

  function place() {
    const { sentence, row, matrix, open } = shown;
    const { above, left, cell, columns, x } = board;
    const s = column ?? Math.max(top(matrix.weights[row]), 0);
    const linked = sentence.links.some(([t, u]) => t === row && u === s) ? ", people link them" : "";
    const weight = open(row, s) ? share(matrix.weights[row][s]) : "hidden";
    const words = `${quoted(sentence.rows[row])} to ${quoted(sentence.columns[s])}: ${weight}${linked}`;
    write(band, { x: left - 2, y: above + row * cell - 1, width: columns * cell + 4, height: cell + 2 });
    write(cursor, { x: x(s) + 1, y: above + row * cell + 1, width: cell - 2, height: cell - 2 });
    write(picture, { "aria-valuenow": row + 1, "aria-valuetext": words });
    write(reading, { text: words });
    return s;
  }
  function look(t, s) {
    column = within(s, board.columns - 1);
    const row = within(t, board.rows - 1);
    if (row !== shown.row) {
      shown = { ...shown, row }; // the next key may come before the next frame
      onRow(row);
    }
    place();
  }
  const pick = (event) => {
    const box = picture.getBoundingClientRect();
    const { width, height, rows, columns, cell, left, above, backwards } = board;
    const across = Math.floor((((event.clientX - box.left) / box.width) * width - left) / cell);
    const t = Math.floor((((event.clientY - box.top) / box.height) * height - above) / cell);
    const s = backwards ? columns - 1 - across : across;
    if (t >= 0 && t < rows && s >= 0 && s < columns) look(t, s);
  };
  picture.addEventListener("pointermove", (event) => event.pointerType === "mouse" && pick(event));
  picture.addEventListener("click", pick);
  picture.addEventListener("keydown", (event) => {
    const [t, s] = [shown.row, place()];
    const right = board.backwards ? -1 : 1;
    const down = { ArrowDown: 1, ArrowUp: -1, PageDown: 5, PageUp: -5 }[event.key] ?? 0;
    const on = { ArrowRight: right, ArrowLeft: -right, Home: -s, End: board.columns }[event.key] ?? 0;
    if ((!down && !on && event.key !== "Home") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    look(t + down, s + on);
  });

  function lay({ sentence, matrix, open }) {
    const [rows, columns] = [sentence.rows.length, sentence.columns.length];
    const named = Math.max(rows, columns) <= LABELS;
    const longest = (words) => Math.min(Math.max(...words.map((word) => [...word].length)), 16);
    const cell = named ? CELL : Math.max(9, 420 / Math.max(rows, columns));
    const left = named ? 14 + 8.2 * longest(sentence.rows) : 2;
    const above = named ? 16 + 6.4 * longest(sentence.columns) : 2;
    const backwards = direction(sentence.columns) === "rtl";
    const x = (s) => left + (backwards ? columns - 1 - s : s) * cell;
    const size = { width: left + columns * cell + (named ? 40 : 2), height: above + rows * cell + 2 };
    board = { rows, columns, cell, above, left, backwards, x, ...size };
    const paths = shades.map(() => []);
    const [crosses, third] = [[], Number((cell / 3).toFixed(1))];
    matrix.weights.forEach((values, t) => values.forEach((weight, s) => {
      const shade = Math.round(weight * SHADES);
      const corner = `M${x(s).toFixed(1)} ${(above + t * cell).toFixed(1)}`;
      if (shade) paths[shade - 1].push(`${corner}h${cell}v${cell}h${-cell}z`);
      if (!open(t, s)) crosses.push(`${corner}m${third} ${third}l${third} ${third}m0 ${-third}l${-third} ${third}`);
    }));
    shades.forEach((path, i) => write(path, { d: paths[i].join("") }));
    write(shut, { d: crosses.join("") });
    const middle = ([t, s]) => [x(s) + cell / 2, above + (t + 0.5) * cell];
    const rings = sentence.links.map((link) => ring(...middle(link), Math.min(6, cell / 3))).join("");
    for (const circle of circles) write(circle, { d: rings });
    write(frame, { x: left, y: above, width: columns * cell, height: rows * cell });
    const short = (word) => ([...word].length > 16 ? `${[...word].slice(0, 15).join("")}…` : word);
    labels[0](named ? rows : 0).forEach((item, t) => write(item.node, { x: left - 8, y: above + (t + 0.5) * cell + 5,
      "text-anchor": "end", text: short(sentence.rows[t]), lang: sentence.row_language || null }));
    labels[1](named ? columns : 0).forEach((item, s) => write(item.node, { text: short(sentence.columns[s]),
      lang: sentence.column_language || null, transform: `translate(${x(s) + cell / 2 + 4} ${above - 7}) rotate(-50)` }));
    write(picture, { viewBox: `0 0 ${board.width} ${board.height}`, style: `max-width:${Math.round(board.width)}px`,
      "aria-valuemax": rows, "aria-label": `Weights of ${matrix.name}, ${rows} rows, ${columns} columns` });
    write(caption, { text: matrix.name });
  }
  return {
    node,
    update(found) {
      shown = found;
      if (drawn[0] !== found.sentence) column = null;
      if (drawn[0] !== found.sentence || drawn[1] !== found.matrix) lay(found);
      drawn = [found.sentence, found.matrix];
      place();
    },
  };
}

// -------------------------------------------------------------------------------------------------------- the tables

/** Where the row looks most in each matrix; with people's links, how far the largest weights agree with them. */
function tables() {
  const looks = table({ columns: ["", "Most weight on", "Weight"], kind: "attnlib-maps-looks" });
  const scores = table({ columns: ["", "Agreed", "Precision", "Recall", "Error"], kind: "attnlib-maps-scores" });
  let drawn = null;
  let judged = [];
  return {
    node: html("div", {}, looks.node, scores.node),
    update({ sentence, matrix, row }, corner) {
      const { matrices, links, columns } = sentence;
      const shown = (i) => matrices[i] === matrix;
      if (drawn !== sentence)
        judged = matrices.map(({ name, weights }) => {
          const found = linksOf(weights);
          const { agreed, ...rates } = alignmentError(found, links);
          const told = ["precision", "recall", "error"].map((rate) => number(rates[rate], 3));
          return [name, `${agreed} of ${found.length}`, ...told];
        });
      drawn = sentence;
      const most = matrices.map(({ name, weights }) => {
        const s = top(weights[row]);
        return [name, quoted(columns[s] ?? "nothing"), share(weights[row][s] ?? 0)];
      });
      write(looks.node, { hidden: links.length > 0 });
      write(scores.node, { hidden: links.length === 0 });
      looks.update(most, { caption: `Where ${quoted(sentence.rows[row])} looks most`, corner, shown });
      const caption = `Links of the largest weights in this sentence against those that people drew (${links.length})`;
      scores.update(judged, { caption, corner, shown });
    },
  };
}

// --------------------------------------------------------------------------------------------------------- the whole

/** What the row does, in words; then what the marks mean. */
function told({ sentence, matrix, other, row, weights, linked, open }) {
  const order = weights.map((_, s) => s).filter((s) => weights[s] > 0).sort((a, b) => weights[b] - weights[a]);
  const looks = listed(order.slice(0, 3).map((s) => `${quoted(sentence.columns[s])} ${share(weights[s])}`));
  const rest = 1 - weights.reduce((a, b) => a + b, 0);
  const common = weights.reduce((sum, weight, s) => sum + Math.min(weight, other?.weights[row][s] ?? 0), 0);
  const away = rest > 0.01 ? `, and with ${share(rest)} at none of them` : "";
  const news = [`${quoted(sentence.rows[row])} looks at ${looks || "nothing"}${away}.`];
  const may = weights.filter((_, s) => open(row, s)).length;
  if (sentence.mask.length) news.push(`It may look at ${may} of ${weights.length}.`);
  if (sentence.values.length) news.push(`It gets ${pair(contextOf(weights, sentence.values))}.`);
  if (other) news.push(`“${matrix.name}” and “${other.name}” have ${share(common)} in common.`);
  const people = listed(linked.map((s) => quoted(sentence.columns[s]))) || "nothing";
  if (sentence.links.length) news.push(`People link it to ${people}.`);
  const legend = ["Bars and numbers: the weights. Dashed line and bold: the largest one."];
  if (other) legend.push(`Outlines and brackets: ${other.name}.`);
  if (sentence.links.length) legend.push("Solid lines, frames and circles: people's links.");
  return [news.join(" "), legend.join(" ")];
}

export function maps(view, first) {
  let current = first;
  const setRow = (row) => row !== current.row && view.set({ row });
  const which = choice({ label: "Sentence", onInput: (value) => view.set({ index: Number(value), row: 0 }) });
  const matrix = choice({ label: "", onInput: (value) => view.set({ matrix: value }) });
  const compare = choice({ label: "Compare with", onInput: (value) => view.set({ compare: value }) });
  const length = () => current.sentences[current.index].rows.length;
  const walk = (value) => setRow(Math.min(Math.round(value), length()) - 1);
  const step = slider({ label: "", min: 1, max: 2, step: 1, onInput: walk });
  const every = toggle({ label: "People's links of all rows", onInput: (value) => view.set({ every_link: value }) });
  const lists = tokens(setRow);
  const [one, two] = [map(setRow), map(setRow)];
  const numbers = tables();
  const controls = [which, matrix, compare, step, every].map((each) => each.node);
  const below = html("div", { class: "attnlib-two attnlib-maps-below" }, one.node, two.node, numbers.node);
  view.root.append(html("div", { class: "attnlib-controls" }, ...controls), lists.node, view.caption, below);

  return (state) => {
    current = state;
    const found = seen(state);
    const { sentence, other, row } = found;
    const names = sentence.matrices.map(({ name }) => [name, name]);
    which.update(state.index, { options: state.sentences.map(({ title }, i) => [i, title || `Sentence ${i + 1}`]) });
    matrix.update(found.matrix.name, { label: state.names[2], options: names });
    compare.update(state.compare, { options: names.length > 1 ? [["", "nothing"], ...names] : [] });
    const last = sentence.rows.length;
    const note = `${row + 1} of ${last}: \u2068${sentence.rows[row]}\u2069`;
    step.update(row + 1, { label: state.names[0], most: Math.max(last, 2), disabled: last < 2, note });
    every.update(state.every_link);
    write(every.node, { hidden: sentence.links.length === 0 });
    lists.update(found, state.names);
    one.update(found);
    if (other) two.update({ ...found, matrix: other });
    write(two.node, { hidden: !other });
    numbers.update(found, state.names[2]);
    view.news(...told(found));
  };
}
