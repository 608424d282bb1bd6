// Named matrices of weights between two lists of tokens, seen a row at a time: the family of Maps and its kin.
//
// The map shows a matrix whole; a click, the arrows or the slider choose a row of it, and the list beside it says what
// that row gives to each column. The mouse reads any cell on its way and chooses none.

import { choice, slider } from "./controls.js";
import { html, pool, svg, write } from "./dom.js";
import { alignmentError, linksOf } from "./math/alignment.js";
import { table } from "./table.js";
import { number, share } from "./text.js";

const CELL = 26; // of a map; less where there are many
const MANY = 18; // columns up to which the list stands beside the map, and holds them all
const LITTLE = 0.01; // weight that a long list leaves out
const SLACK = 0.01; // by which rounded weights of one look may sum to more than 1
const SHADES = 16;
const BACKWARDS = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** A word in quotation marks, of whichever direction, in a sentence that runs from left to right. */
const quoted = (word) => `“\u2068${word}\u2069”`;
const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join(""));
const ring = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const top = (weights) => linksOf([weights])[0]?.[1] ?? -1; // the first of the largest, if above 0
const within = (value, most) => Math.min(Math.max(value, 0), most);

/** A column's token, and what it means where that is known. */
const told = ({ columns, glosses }, s) => quoted(columns[s]) + (glosses[s] ? ` (${glosses[s]})` : "");

/** Whether words are written from right to left: their first letter says so. */
const backward = (words) => BACKWARDS.test(words.join(" ").match(/\p{L}/u)?.[0] ?? "");

/** What a state looks at: the sentence, the matrix, the one compared or null, the row and what is linked to it. */
function seen({ sentences, index, row, matrix: name, compare }) {
  const sentence = sentences[index];
  const named = (wanted) => sentence.matrices.find((each) => each.name === wanted);
  const matrix = named(name) ?? sentence.matrices[0];
  const linked = sentence.links.flatMap(([t, s]) => (t === row ? [s] : []));
  const open = (t, s) => sentence.mask[t]?.[s] ?? true;
  return { sentence, matrix, other: named(compare) ?? null, row, weights: matrix.weights[row], linked, open };
}

/** All weights of a matrix, people's links circled, what is hidden crossed out. `onRow(t)` is told of another row,
 * `onColumn(s)` of a column; a member that keeps the column gives it back as `column`. `sentence.linked` says what a
 * circle means where people have drawn none, `sentence.between` what stands between two names where it is not "to",
 * `sentence.leaks` words the weight of what is hidden, which otherwise has none. */
export function map(onRow, onColumn = null) {
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

  const chosen = () => [shown.row, column ?? Math.max(top(shown.weights), 0)];
  /** The cell that is read, in words and in a frame. */
  function read([t, s]) {
    const { sentence, matrix, open } = shown;
    const { above, cell, x } = board;
    const linked = sentence.links.some(([u, v]) => u === t && v === s)
      ? `, ${sentence.linked ?? "people link them"}`
      : "";
    const weight = open(t, s) ? share(matrix.weights[t][s]) : (sentence.leaks?.(matrix.weights[t][s]) ?? "hidden");
    const text = `${quoted(sentence.rows[t])} ${sentence.between ?? "to"} ${told(sentence, s)}: ${weight}${linked}`;
    write(cursor, { x: x(s) + 1, y: above + t * cell + 1, width: cell - 2, height: cell - 2 });
    write(reading, { text });
    return text;
  }
  function place() {
    const { above, left, cell, columns } = board;
    write(band, { x: left - 2, y: above + shown.row * cell - 1, width: columns * cell + 4, height: cell + 2 });
    write(picture, { "aria-valuenow": shown.row + 1, "aria-valuetext": read(chosen()) });
  }
  function look(t, s) {
    column = s ?? shown.column ?? null;
    if (s !== null) onColumn?.(s);
    const row = within(t, board.rows - 1);
    if (row !== shown.row) {
      shown = { ...shown, row, weights: shown.matrix.weights[row] }; // the next key may come before the next frame
      onRow(row);
    }
    place();
  }
  /** Row and column under a pointer, null for a column beside the map, as over the names; null beside all rows. */
  function under(event) {
    const box = picture.getBoundingClientRect();
    const { width, height, rows, columns, cell, left, above, backwards } = board;
    const across = Math.floor((((event.clientX - box.left) / box.width) * width - left) / cell);
    const t = Math.floor((((event.clientY - box.top) / box.height) * height - above) / cell);
    if (t < 0 || t >= rows) return null;
    return [t, across < 0 || across >= columns ? null : backwards ? columns - 1 - across : across];
  }
  picture.addEventListener("pointermove", (event) => {
    const cell = event.pointerType === "mouse" ? under(event) : null;
    read(cell && cell[1] !== null ? cell : chosen());
  });
  picture.addEventListener("pointerleave", () => read(chosen()));
  picture.addEventListener("click", (event) => under(event) && look(...under(event)));
  picture.addEventListener("keydown", (event) => {
    const [t, s] = chosen();
    const right = board.backwards ? -1 : 1;
    const down = { ArrowDown: 1, ArrowUp: -1, PageDown: 5, PageUp: -5 }[event.key] ?? 0;
    const on = { ArrowRight: right, ArrowLeft: -right, Home: -s, End: board.columns }[event.key] ?? 0;
    if ((!down && !on && event.key !== "Home") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    look(t + down, within(s + on, board.columns - 1));
  });

  function lay({ sentence, matrix, open }) {
    const [rows, columns] = [sentence.rows.length, sentence.columns.length];
    const many = Math.max(rows, columns) > MANY;
    const longest = (words) => Math.min(Math.max(...words.map((word) => [...word].length)), 16);
    const cell = many ? 16 : CELL;
    const left = 14 + (many ? 7 : 7.6) * longest(sentence.rows);
    const above = 16 + (many ? 5.6 : 6.4) * longest(sentence.columns);
    const backwards = backward(sentence.columns);
    const x = (s) => left + (backwards ? columns - 1 - s : s) * cell;
    const size = { width: left + columns * cell + 40, height: above + rows * cell + 2 };
    board = { rows, columns, cell, above, left, backwards, x, ...size };
    const paths = shades.map(() => []);
    const [crosses, third] = [[], Number((cell / 3).toFixed(1))];
    matrix.weights.forEach((values, t) =>
      values.forEach((weight, s) => {
        const shade = Math.min(Math.round(weight * SHADES), SHADES);
        const corner = `M${x(s).toFixed(1)} ${(above + t * cell).toFixed(1)}`;
        if (shade) paths[shade - 1].push(`${corner}h${cell}v${cell}h${-cell}z`);
        if (!open(t, s)) crosses.push(`${corner}m${third} ${third}l${third} ${third}m0 ${-third}l${-third} ${third}`);
      }),
    );
    shades.forEach((path, i) => write(path, { d: paths[i].join("") }));
    write(shut, { d: crosses.join("") });
    const middle = ([t, s]) => [x(s) + cell / 2, above + (t + 0.5) * cell];
    const rings = sentence.links.map((link) => ring(...middle(link), Math.min(6, cell / 3))).join("");
    for (const circle of circles) write(circle, { d: rings });
    write(frame, { x: left, y: above, width: columns * cell, height: rows * cell });
    const short = (word) => ([...word].length > 16 ? `${[...word].slice(0, 15).join("")}…` : word);
    labels[0](rows).forEach((item, t) =>
      write(item.node, {
        x: left - 8,
        y: above + (t + 0.5) * cell + 5,
        "text-anchor": "end",
        text: short(sentence.rows[t]),
        lang: sentence.row_language || null,
      }),
    );
    const slanted = (s) => `translate(${x(s) + cell / 2 + 4} ${above - 7}) rotate(-50)`;
    labels[1](columns).forEach((item, s) =>
      write(item.node, {
        text: short(sentence.columns[s]),
        transform: slanted(s),
        lang: sentence.column_language || null,
      }),
    );
    const label = `Weights of ${matrix.name}, ${rows} rows, ${columns} columns`;
    write(picture, {
      viewBox: `0 0 ${board.width} ${board.height}`,
      style: `max-width:${Math.round(board.width)}px`,
      "aria-valuemax": rows,
      "aria-label": label,
      "data-many": many,
      "data-letters": longest(sentence.columns) === 1,
    });
    write(caption, { text: matrix.name });
  }
  return {
    node,
    update(found) {
      if (drawn[0] !== found.sentence || shown.row !== found.row) column = null;
      if (drawn[0] !== found.sentence || drawn[1] !== found.matrix) lay(found);
      drawn = [found.sentence, found.matrix];
      shown = found;
      column = found.column ?? column;
      place();
    },
  };
}

/** How far the largest weights of each matrix agree with people's links; hidden where nobody drew any. */
function scores() {
  const made = table({ columns: ["", "Agreed", "Precision", "Recall", "Error"], kind: "attnlib-maps-scores" });
  let drawn = null;
  let judged = [];
  return {
    node: made.node,
    update({ sentence, matrix }, corner) {
      const { matrices, links } = sentence;
      if (drawn !== sentence)
        judged = matrices.map(({ name, weights }) => {
          const found = linksOf(weights);
          const { agreed, ...rates } = alignmentError(found, links);
          const figures = ["precision", "recall", "error"].map((rate) => number(rates[rate], 3));
          return [name, `${agreed} of ${found.length}`, ...figures];
        });
      drawn = sentence;
      write(made.node, { hidden: links.length === 0 });
      const caption = `Links of the largest weights in this sentence against those that people drew (${links.length})`;
      made.update(judged, { caption, corner, shown: (i) => matrices[i] === matrix });
    },
  };
}

/**
 * What leads a row's weights in a sentence, and heads the list of them. A row looks only where its weights are those of
 * one look: not where all rows are one, as when their mean asks, nor where a row sums to more than 1.
 */
function leads({ sentence, matrix: { weights }, row }) {
  const name = quoted(sentence.rows[row]);
  const alike = weights.length > 1 && weights.every((values) => values.every((weight, s) => weight === weights[0][s]));
  if (alike) return ["The same in every row:", "What is in every row"];
  const most = Math.max(...weights.map((values) => values.reduce((a, b) => a + b, 0)));
  return most > 1 + SLACK
    ? [`In the row ${name}:`, `What is in the row ${name}`]
    : [`${name} looks at`, `What ${name} looks at`];
}

/** What the row does, in words; then what the marks mean. */
function news({ sentence, matrix, other, row, weights, linked, open }) {
  const order = weights
    .map((_, s) => s)
    .filter((s) => weights[s] > 0)
    .sort((a, b) => weights[b] - weights[a]);
  const looks = listed(order.slice(0, 3).map((s) => `${told(sentence, s)} ${share(weights[s])}`));
  const rest = 1 - weights.reduce((a, b) => a + b, 0);
  const common = weights.reduce((sum, weight, s) => sum + Math.min(weight, other?.weights[row][s] ?? 0), 0);
  const away = rest > 0.01 ? `, and with ${share(rest)} at none of them` : "";
  const said = [`${leads({ sentence, matrix, row })[0]} ${looks || "nothing"}${away}.`];
  const may = weights.filter((_, s) => open(row, s)).length;
  if (sentence.mask.length) said.push(`It may look at ${may} of ${weights.length}.`);
  if (other) said.push(`“${matrix.name}” and “${other.name}” have ${share(common)} in common.`);
  const people = listed(linked.map((s) => told(sentence, s))) || "nothing";
  if (sentence.links.length) said.push(`People link it to ${people}.`);
  const legend = [];
  if (other) legend.push(`Outlines and brackets: ${other.name}.`);
  if (sentence.links.length) legend.push("Circles: people's links.");
  return [said.join(" "), legend.join(" ")];
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
  const [one, two] = [map(setRow), map(setRow)];
  const list = table({ columns: ["", "Weight", "Meaning"], bars: 1, kind: "attnlib-looks attnlib-maps-looks" });
  const numbers = scores();
  const controls = [which, matrix, compare, step].map((each) => each.node);
  const below = html("div", { class: "attnlib-two attnlib-maps-below" }, one.node, two.node, list.node, numbers.node);
  view.root.append(html("div", { class: "attnlib-controls attnlib-maps-controls" }, ...controls), view.caption, below);

  return (state) => {
    current = state;
    const found = seen(state);
    const { sentence, other, row, weights, linked, open } = found;
    const names = sentence.matrices.map(({ name }) => [name, name]);
    which.update(state.index, { options: state.sentences.map(({ title }, i) => [i, title || `Sentence ${i + 1}`]) });
    matrix.update(found.matrix.name, { label: state.names[2], options: names });
    compare.update(state.compare, { options: names.length > 1 ? [["", "nothing"], ...names] : [] });
    const last = sentence.rows.length;
    const note = `${row + 1} of ${last}: \u2068${sentence.rows[row]}\u2069`;
    step.update(row + 1, { label: state.names[0], most: Math.max(last, 2), disabled: last < 2, note });
    one.update(found);
    if (other) two.update({ ...found, matrix: other, weights: other.weights[row] });
    write(two.node, { hidden: !other });
    const many = sentence.columns.length > MANY;
    write(below, { "data-wide": other !== null || many });
    const best = top(weights);
    const second = (s) => (other ? ` (${share(other.weights[row][s])})` : "");
    const both = (s) => (open(row, s) ? share(weights[s]) : "hidden") + second(s);
    const kept = weights
      .map((_, s) => s)
      .filter((s) => !many || linked.includes(s) || Math.max(weights[s], other?.weights[row][s] ?? 0) >= LITTLE);
    const lines = kept.map((s) => [
      sentence.columns[s],
      { text: both(s), part: weights[s], before: other?.weights[row][s] },
      sentence.glosses[s] ?? "",
    ]);
    const caption = `${leads(found)[1]}${many ? `; below ${LITTLE} left out` : ""}`;
    const heads = ["", "Weight", state.names[3] ?? "Meaning"];
    list.update(lines, {
      caption,
      heads,
      corner: state.names[1],
      lang: sentence.column_language || null,
      shown: (i) => kept[i] === best,
      marked: (i) => linked.includes(kept[i]),
    });
    write(list.node, { "data-plain": sentence.glosses.length === 0, "data-pair": other !== null });
    numbers.update(found, state.names[2]);
    view.news(...news(found));
  };
}
