// HeadsExplorer: a word becomes sounds; the maps of all heads of a layer, one of them large, and any of its weights told
// from query to logits.

import { button, choice, slider, toggle } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { map } from "../js/maps.js";
import { softmax } from "../js/math/distributions.js";
import { added, edits as editsOf, encode, greedy, renormalised, unpackedTransformer } from "../js/math/transformer.js";
import { norm } from "../js/math/vectors.js";
import { gauge, table } from "../js/table.js";
import { number, share } from "../js/text.js";

const LOOKS = {
  encoder: "letters look at letters",
  decoder: "sounds look at sounds before",
  across: "sounds look at letters",
};
const SHADES = 8;
const THUMB = 10; // side of a cell
const many = (values) => `(${Array.from(values, (value) => number(value)).join(", ")})`;
const top = (weights) => weights.indexOf(Math.max(...weights));
const sameHead = (one, other) => ["part", "layer", "head"].every((name) => one[name] === other[name]);

/** How far two maps differ in the rows that both have. */
const apart = (one, other) =>
  Math.max(
    0,
    ...one
      .slice(0, other.length)
      .flatMap((values, t) => Array.from(values, (weight, j) => Math.abs(weight - (other[t][j] ?? 0)))),
  );
const differing = (most) =>
  most === 0 ? "" : most < 5e-4 ? "changed by less than 0.0005" : `changed by up to ${share(most)}`;

/** A small map of a head: a button that makes it the large one, and a box that switches it off. */
function thumb(h, { onPick, onSwitch }) {
  const shades = Array.from({ length: SHADES }, (_, i) => svg("path", { "fill-opacity": (i + 1) / SHADES }));
  const [frame, row] = [svg("rect"), svg("rect", { class: "attnlib-heads-row" })];
  const picture = svg("svg", { "aria-hidden": "true" }, ...shades, frame, row);
  const [words, change] = [html("span", { text: `Head ${h + 1}` }), html("span", { class: "attnlib-heads-change" })];
  const pick = html("button", { type: "button", class: "attnlib-heads-pick" }, words, picture, change);
  pick.addEventListener("click", () => onPick(h));
  const on = toggle({ label: "on", onInput: (value) => onSwitch(h, value) });
  return {
    node: html("li", {}, pick, on.node),
    update({ weights, chosen, off, at, label, differs }) {
      const [rows, columns] = [weights.length, weights.at(-1).length];
      const paths = shades.map(() => []);
      weights.forEach((values, t) =>
        values.forEach((weight, j) => {
          const shade = Math.round(weight * SHADES);
          if (shade) paths[shade - 1].push(`M${THUMB * j} ${THUMB * t}h${THUMB}v${THUMB}h${-THUMB}z`);
        }),
      );
      shades.forEach((path, i) => write(path, { d: paths[i].join("") }));
      const [width, height] = [THUMB * columns, THUMB * rows];
      write(picture, { viewBox: `-1 -1 ${width + 2} ${height + 2}` });
      write(frame, { width, height });
      write(row, { y: THUMB * at, width, height: THUMB });
      write(pick, { "aria-pressed": String(chosen), "data-off": off });
      on.update(!off, { label: `Head ${h + 1} on` });
      write(change, { text: differs });
      write(pick, { "aria-label": differs ? `${label}; ${differs}` : label });
    },
  };
}

/** A weight of the row as a button. */
function cell(j, onPick) {
  const [name, value, bar] = [html("span"), html("span", { class: "attnlib-value" }), gauge()];
  const node = html("button", { type: "button", class: "attnlib-heads-cell" }, name, value, bar.node);
  node.addEventListener("click", () => onPick(j));
  return {
    node,
    update({ text, weight, chosen }) {
      write(name, { text });
      write(value, { text: share(weight) });
      bar.update(weight);
      write(node, { "aria-pressed": String(chosen) });
    },
  };
}

/** Which heads are off, a place at a time. */
function offLine(off, places) {
  const listed = places.flatMap(([place, words]) => {
    const heads = off
      .filter((head) => head.startsWith(`${place} `))
      .map((head) => Number(head.split(" ")[2]) + 1)
      .sort();
    const names = heads.length > 1 ? `${heads.slice(0, -1).join(", ")} and ${heads.at(-1)}` : heads[0];
    return heads.length
      ? [`${words.replace(/^./, (first) => first.toLowerCase())}, head${heads.length > 1 ? "s" : ""} ${names}`]
      : [];
  });
  return listed.length ? `Off: ${listed.join("; ")}.` : "";
}

/** The numbers of a stage: rows of a name and a text. */
function told(net, sounds, { stage, name, look, h, j, columns, logits, changed, off, said }) {
  const { query, energies, own, weights, context } = look.heads[h];
  const { key, value } = { key: look.items[j].key[h], value: look.items[j].value[h] };
  const products = query.map((part, d) => part * key[d]);
  const sum = products.reduce((a, b) => a + b, 0);
  const [largest, of] = [Math.max(...energies), `“${columns[j]}”`];
  if (stage === "query")
    return [
      ["x, what passes by, after its norm", many(look.asking)],
      [`q of head ${h + 1}`, many(query)],
    ];
  if (stage === "key")
    return [
      [`k of ${of}`, many(key)],
      [`v of ${of}`, many(value)],
    ];
  if (stage === "energy")
    return [
      ["q", many(query)],
      [`k of ${of}`, many(key)],
      ["q times k, one by one", many(products)],
      ["their sum", number(sum, 4)],
      [`over √${query.length}`, number(energies[j], 4)],
    ];
  if (stage === "weight") {
    const exponentials = energies.map((energy) => Math.exp(energy - largest));
    const total = exponentials.reduce((a, b) => a + b, 0);
    const rows = columns.map((column, i) => [
      `“${column}”`,
      `e = ${number(energies[i])}, exp(e − ${number(largest)}) = ${number(exponentials[i], 4)}`,
    ]);
    const ends = `${number(exponentials[j], 4)} / ${number(total, 4)} = ${number(own[j], 4)}`;
    return [
      ...rows,
      [
        `α of ${of}`,
        off ? `${ends}; not used: the head is off` : changed ? `${ends}; changed to ${number(weights[j], 4)}` : ends,
      ],
    ];
  }
  if (stage === "context")
    return [
      [`α v of ${of}, α = ${number(weights[j], 4)}`, many(value.map((part) => weights[j] * part))],
      ["c, the sum over the row", many(context)],
    ];
  if (stage === "output") {
    const rows = look.heads.map((_, i) => [
      `length of what head ${i + 1} adds`,
      number(norm(added(net, name, look, i)), 3),
    ]);
    return [...rows, ["length of y, of all with b_o", number(norm(look.output), 3)]];
  }
  if (!logits) return said.map(([sound, p]) => [sound, `p = ${share(p)}`]);
  const shares = softmax(logits);
  const order = Array.from(logits, (_, i) => i).sort((a, b) => logits[b] - logits[a]);
  return order.slice(0, 5).map((i) => [sounds[i] ?? "end", `z = ${number(logits[i])}, p = ${share(shares[i])}`]);
}

function build(view, first) {
  let now = first;
  let shown = null;
  let refused = null; // the word before what stands in the box, where that is none
  const { data } = view;
  const net = unpackedTransformer(data);
  const options = { mark: data.sounds.length, longest: data.longest };
  const set = (changes) => {
    now = { ...now, ...changes, preset: changes.preset ?? "" };
    view.set(changes);
  };
  /** Presets ask to look about: only what changes the network or the word ends one. */
  const look = (changes) => set({ preset: now.preset, ...changes });
  const memo = new Map(); // of the last words: a reader goes to and fro
  /** Only what a change touches: the letters are read again when the word or the encoder has changed. */
  function kept(key, make) {
    if (!memo.has(key)) memo.set(key, make());
    const found = memo.get(key);
    if (memo.size > 60) memo.clear();
    return found;
  }
  function run(word, off, edits) {
    const edit = editsOf(
      off.map((head) => head.split(" ")),
      edits,
    );
    const [all, mine] = [
      [off, edits],
      [off.filter((head) => head.startsWith("encoder")), edits.filter(({ part }) => part === "encoder")],
    ].map(JSON.stringify);
    const encoded = kept(`read ${word} ${mine}`, () =>
      encode(
        net,
        [...word].map((letter) => data.letters.indexOf(letter)),
        edit,
      ),
    );
    return kept(`say ${word} ${all}`, () => ({ encoded, ...greedy(net, encoded, { ...options, edit }) }));
  }
  const named = ({ said }) => said.map((i) => data.sounds[i] ?? "end");

  const id = uid();
  const input = html("input", {
    id,
    type: "text",
    maxlength: 12,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  input.addEventListener("input", () => {
    const word = input.value.toLowerCase();
    const known = /^[a-z]{1,12}$/.test(word);
    refused = known ? null : now.word;
    if (!known) view.set({}); // nothing is said of the last word while another stands in the box
    else set({ word, edits: [] });
  });
  const typed = html(
    "div",
    { class: "attnlib-control" },
    html("label", { for: id, text: "A word, up to 12 letters" }),
    input,
  );
  const [sounds, before] = [
    html("strong", { class: "attnlib-heads-sounds" }),
    html("span", { class: "attnlib-heads-before" }),
  ];
  const says = html("p", { class: "attnlib-heads-says" }, sounds, " ", before);
  const heard = html("p", { class: "attnlib-heads-heard" });
  const places = Object.keys(LOOKS).flatMap((part) =>
    Array.from({ length: net.layers }, (_, i) => [
      `${part} ${i}`,
      `${part === "encoder" ? "Encoder" : "Decoder"}, layer ${i + 1}: ${LOOKS[part]}`,
    ]),
  );
  const place = choice({
    label: "Heads of",
    onInput: (value) => look({ part: value.split(" ")[0], layer: Number(value.split(" ")[1]), row: 0, column: 0 }),
  });
  const list = html("ul", { class: "attnlib-heads-thumbs", "aria-label": "The heads of this layer" });
  const gone = html("p", { class: "attnlib-heads-off" });
  const nameOf = (h) => `${now.part} ${now.layer} ${h}`;
  const thumbs = pool(list, (h) =>
    thumb(h, {
      onPick: (head) => look({ head }),
      onSwitch: (head, on) =>
        set({ off: on ? now.off.filter((each) => each !== nameOf(head)) : [...now.off, nameOf(head)].sort() }),
    }),
  );
  const large = map(
    (row) => look({ row }),
    (column) => look({ column }),
  );
  const cells = html("div", { class: "attnlib-heads-cells", role: "group" });
  const buttons = pool(cells, (j) => cell(j, (column) => look({ column })));
  const others = () => now.edits.filter((each) => !(sameHead(each, now) && each.row === shown.row));
  const change = (value) =>
    set({
      edits: [
        ...others(),
        {
          part: now.part,
          layer: now.layer,
          head: now.head,
          row: shown.row,
          weights: renormalised(shown.weights, shown.column, value, shown.own),
        },
      ],
    });
  const weight = slider({
    label: "Weight",
    min: 0,
    max: 1,
    step: 0.01,
    text: (value) => number(value),
    onInput: change,
  });
  const undo = button({ label: "Take back this row", onClick: () => shown.changed && set({ edits: others() }) });
  const echo = html("p", { class: "attnlib-heads-echo" });
  const editor = html("div", { class: "attnlib-heads-editor" }, weight.node, echo, undo.node);
  const chain = html("div", {
    class: "attnlib-buttons attnlib-heads-chain",
    role: "group",
    "aria-label": "From query to logits",
  });
  const stages = data.stages.map(({ name }) => name);
  const steps = pool(chain, (i) => button({ label: stages[i], onClick: () => look({ stage: stages[i] }) }));
  const [equation, code, where] = [html("p", { class: "attnlib-heads-equation" }), html("code"), html("span")];
  const numbers = table({ columns: ["", "In numbers"], kind: "attnlib-heads-numbers" });
  const line = html("p", { class: "attnlib-heads-code" }, code, " ", where);
  const right = html("div", { class: "attnlib-heads-right" }, cells, editor);
  view.root.append(
    typed,
    says,
    heard,
    place.node,
    list,
    gone,
    view.caption,
    html("div", { class: "attnlib-two attnlib-heads-below" }, large.node, right),
    chain,
    equation,
    numbers.node,
    line,
  );

  return (state) => {
    now = state;
    const { word, part, layer, head, stage, off, edits } = state;
    const found = run(word, off, edits);
    const [plain, letters, said] = [run(word, [], []), [...word], named(found)];
    const looksOf = (each) =>
      part === "encoder" ? each.encoded.layers[layer] : each.steps.map(({ layers }) => layers[layer][part]);
    const looks = looksOf(found);
    const rows = part === "encoder" ? letters : said;
    const columns = part === "decoder" ? ["start", ...said.slice(0, -1)] : letters;
    const row = Math.min(state.row, rows.length - 1);
    const look = looks[row];
    const { own, weights } = look.heads[head];
    const column = Math.min(state.column, weights.length - 1);
    const isOff = (h) => off.includes(`${part} ${layer} ${h}`);
    const changed = edits.some((each) => sameHead(each, state) && each.row === row);
    shown = { row, column, own, weights, changed };

    const wrong = refused === word && document.activeElement === input;
    if (!wrong) refused = null;
    write(input, { "aria-invalid": wrong ? "true" : null });
    write(says, { "data-wrong": wrong });
    if (!wrong && input.value.toLowerCase() !== word) input.value = word;
    const shares = found.steps.map(({ logits }, t) => [said[t], softmax(logits)[found.said[t]]]);
    const total = shares.reduce((product, [, p]) => product * p, 1);
    const spoken = (names) => names.filter((name) => name !== "end").join(" ") || "nothing";
    write(sounds, { text: wrong ? "" : spoken(said) });
    const same = spoken(named(plain)) === spoken(said);
    write(echo, { text: `Says ${spoken(said)}` });
    write(before, {
      text: wrong
        ? "Letters a to z only."
        : off.length + edits.length === 0
          ? `probability ${share(total)}`
          : same
            ? "as when nothing is changed"
            : `with nothing changed: ${spoken(named(plain))}`,
    });
    write(says, { "data-other": !same });
    write(heard, {
      text: [...new Set(said)]
        .flatMap((name) => (data.heard[name] ? [`${name} as in ${data.heard[name]}`] : []))
        .join(", "),
    });
    place.update(`${part} ${layer}`, { options: places });
    const line = offLine(off, places);
    write(gone, { text: line, hidden: !line });
    const full = (values) => columns.map((_, j) => values[j] ?? 0);
    const matrices = kept(`maps ${word} ${JSON.stringify([off, edits])} ${part} ${layer}`, () => {
      const sentence = { rows, columns, links: [], mask: [], glosses: [], row_language: "", column_language: "" };
      return {
        sentence,
        heads: look.heads.map((_, h) => ({
          name: `Head ${h + 1}`,
          weights: looks.map(({ heads }) => full(heads[h].weights)),
        })),
        differ: look.heads.map((_, h) =>
          differing(apart(...[looks, looksOf(plain)].map((all) => all.map(({ heads }) => heads[h].weights)))),
        ),
      };
    });
    thumbs(net.heads).forEach((each, h) => {
      const mine = look.heads[h].weights;
      const most = isOff(h)
        ? "off"
        : `“${rows[row]}” looks most at “${columns[top(mine)]}”, ${share(Math.max(...mine))}`;
      each.update({
        weights: matrices.heads[h].weights,
        chosen: h === head,
        off: isOff(h),
        at: row,
        differs: isOff(h) ? "" : matrices.differ[h],
        label: `Head ${h + 1}: ${most}`,
      });
    });
    const matrix = matrices.heads[head];
    large.update({
      sentence: matrices.sentence,
      matrix,
      row,
      column,
      weights: matrix.weights[row],
      linked: [],
      open: (t, j) => part !== "decoder" || j <= t,
    });
    write(cells, { "aria-label": `What “${rows[row]}” looks at` });
    buttons(weights.length).forEach((each, j) =>
      each.update({ text: columns[j], weight: weights[j], chosen: j === column }),
    );
    const fixed = isOff(head) || weights.length < 2;
    weight.update(weights[column], {
      label: `Weight of “${columns[column]}” for “${rows[row]}”`,
      disabled: fixed,
      note: isOff(head) ? "0, the head is off" : "",
    });
    undo.update({ disabled: !changed });
    steps(stages.length).forEach((each, i) => {
      each.update({ label: stages[i] });
      write(each.node, { "aria-pressed": String(stages[i] === stage) });
    });
    const name =
      part === "encoder" ? `encoder.${layer}.own` : `decoder.${layer}.${part === "across" ? "across" : "own"}`;
    const logits = part === "encoder" ? null : found.steps[row].logits;
    const lines = told(net, data.sounds, {
      stage,
      name,
      look,
      h: head,
      j: column,
      columns: columns.slice(0, weights.length),
      logits,
      changed,
      off: isOff(head),
      said: shares,
    });
    numbers.update(lines, { corner: stage });
    const { equation: formula, code: made, where: at } = data.stages[stages.indexOf(stage)];
    write(equation, { text: formula });
    write(code, { text: made });
    write(where, { text: `in ${at}` });
    const who = part === "encoder" ? `“${rows[row]}” looks` : `To say “${rows[row]}” it looks`;
    const most = isOff(head)
      ? `Head ${head + 1} is off.`
      : `${who} most at “${columns[top(weights)]}” (${share(Math.max(...weights))}) in head ${head + 1}.`;
    if (wrong) view.news("Letters a to z only.");
    else view.news(`Says ${spoken(said)}. ${most}`, changed ? "This row was changed by hand." : "");
  };
}

const unnamed = "Your own choice";
const hint = "Which head could be switched off without a change in what is said, and which could not?";

export default { build, unnamed, hint };
