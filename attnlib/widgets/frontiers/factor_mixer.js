// FactorMixer: four terms of an energy, each with a switch, and the map of weights that the chosen ones make.

import { button, toggle } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { map } from "../js/maps.js";
import { factorEnergies, mixed } from "../js/math/factors.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const TERMS = ["word and word", "word and place", "key alone", "place alone"];
const KINDS = ["article", "adjective", "noun", "verb"];
const CELL = 10; // of a small map
const SHADES = 8;
const quoted = (word) => `“\u2068${word}\u2069”`;

/** The energies of one term as a small map, with its switch. */
function term(i, onSwitch) {
  const on = toggle({ label: `E${i + 1} ${TERMS[i]}`, onInput: onSwitch });
  const shades = Array.from({ length: SHADES }, (_, shade) => svg("path", { "fill-opacity": (shade + 1) / SHADES }));
  const [frame, row] = [svg("rect"), svg("rect", { class: "attnlib-mixer-row" })];
  const picture = svg("svg", { role: "img" }, ...shades, frame, row);
  return {
    node: html("li", {}, on.node, picture),
    update({ energies, most, added, at, word }) {
      const side = CELL * energies.length;
      const paths = shades.map(() => []);
      energies.forEach((values, t) =>
        values.forEach((energy, j) => {
          const shade = Math.round((energy / most) * SHADES);
          if (shade) paths[shade - 1].push(`M${CELL * j} ${CELL * t}h${CELL}v${CELL}h${-CELL}z`);
        }),
      );
      shades.forEach((path, shade) => write(path, { d: paths[shade].join("") }));
      write(picture, {
        viewBox: `-1 -1 ${side + 2} ${side + 2}`,
        "data-off": !added,
        "aria-label": `Energies of ${TERMS[i]}, row ${quoted(word)}: ${energies[at].map((energy) => number(energy)).join(", ")}`,
      });
      write(frame, { width: side, height: side });
      write(row, { y: CELL * at, width: side, height: CELL });
      on.update(added);
    },
  };
}

/** What holds of the map because of the terms that make it. */
function law(terms) {
  if (terms.length === 0) return "No term: every word has the same weight.";
  if (terms.every((each) => each === 3)) return "Only the key speaks: all rows are equal.";
  if (terms.every((each) => each === 4))
    return "Only the place speaks: energies are equal along each diagonal, and no word matters. A swap leaves the map as it is; the row goes with its word.";
  if (terms.every((each) => each > 2)) return "No query's content: the row knows only where it stands.";
  if (terms.every((each) => each === 1 || each === 3)) return "No place: words of one kind have the same weight.";
  return "";
}

/** A list with two neighbours exchanged. */
const swapped = (items, i) => items.map((item, j) => (j === i ? items[i + 1] : j === i + 1 ? items[i] : item));

function build(view, first) {
  let now = first;
  const setRow = (row) => view.set({ row });
  const list = html("ul", { class: "attnlib-mixer-terms", "aria-label": "The four terms of the energy" });
  const parts = TERMS.map((_, i) =>
    term(i, (on) =>
      view.set({ terms: [...now.terms.filter((each) => each !== i + 1), ...(on ? [i + 1] : [])].sort() }),
    ),
  );
  list.append(...parts.map(({ node }) => node));
  const large = map(setRow);
  const looks = table({
    columns: ["Key", "Weight", "E1", "E2", "E3", "E4"],
    bars: 1,
    kind: "attnlib-looks attnlib-mixer-looks",
  });
  const swap = button({
    label: "",
    onClick: () =>
      now.row + 1 < now.words.length &&
      view.set({ words: swapped(now.words, now.row), kinds: swapped(now.kinds, now.row), row: now.row + 1 }),
  });
  const side = html("div", { class: "attnlib-side" }, looks.node, html("div", { class: "attnlib-buttons" }, swap.node));
  view.root.append(list, view.caption, html("div", { class: "attnlib-two attnlib-mixer-below" }, large.node, side));
  let [shown, sentence, matrix] = [null, null, null];

  return (state) => {
    now = state;
    const { words, kinds, terms, row } = state;
    const energies = factorEnergies(state);
    const weights = mixed(energies, terms);
    const told = JSON.stringify([words, weights]);
    if (told !== shown) {
      // the large map looks whether these are others
      sentence = {
        rows: words,
        columns: words,
        links: [],
        mask: [],
        glosses: [],
        row_language: "en",
        column_language: "en",
      };
      matrix = {
        name: terms.length ? `the softmax of ${terms.map((each) => `E${each}`).join(" + ")}` : "no term",
        weights,
      };
      shown = told;
    }
    const most = Math.max(...energies.flat(2), 1e-9);
    parts.forEach((part, i) =>
      part.update({ energies: energies[i], most, added: terms.includes(i + 1), at: row, word: words[row] }),
    );
    large.update({ sentence, matrix, row, weights: weights[row], linked: [], open: () => true });
    const energy = (i, j) =>
      terms.includes(i + 1) ? number(energies[i][row][j], 1) : `(${number(energies[i][row][j], 1)})`;
    const best = Math.max(...weights[row]);
    looks.update(
      words.map((word, j) => [
        word,
        { text: share(weights[row][j]), part: weights[row][j] },
        ...TERMS.map((_, i) => energy(i, j)),
      ]),
      {
        caption: `What ${quoted(words[row])} (${KINDS[kinds[row]]}) looks at; in brackets: switched off`,
        shown: (j) => weights[row][j] > best - 1e-9,
      },
    );
    const last = row + 1 === words.length;
    swap.update({
      label: last
        ? `${quoted(words[row])} is the last word`
        : `Swap ${quoted(words[row])} with ${quoted(words[row + 1])}`,
      disabled: last,
    });
    const tops = words.filter((_, j) => weights[row][j] > best - 1e-9).map(quoted);
    const line =
      tops.length === words.length
        ? `${quoted(words[row])} looks at all words alike.`
        : `${quoted(words[row])} looks most at ${tops.join(" and ")}, ${share(best)}${tops.length > 1 ? " each" : ""}.`;
    view.news(line, law(terms));
  };
}

const unnamed = "Your own mixture";
const hint = "Switch terms on and off, choose a row of the map, swap words: what follows the word, and what stays?";

export default { build, unnamed, hint, inSight: true };
