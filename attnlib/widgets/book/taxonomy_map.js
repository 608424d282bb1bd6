// TaxonomyMap: tick types, see which works and chapters of the book have them all, and open the chapter.
//
// The chapters are no part of the state: the build of the book leaves them in the page, and elsewhere there are none.

import { button, toggle } from "../js/controls.js";
import { html, write } from "../js/dom.js";

const KINDS = ["work", "chapter"];

/** The chapters that the page names: {title, href, by, types, works}, the works by their names. */
const chaptersHere = () => JSON.parse(globalThis.document?.getElementById?.("attnlib-chapters")?.textContent ?? "[]");

/** The works, each with the chapters that treat it, and then the chapters. */
const withChapters = (works, chapters) => [
  ...works.map((work) => ({ ...work, kind: "work", pages: chapters.filter((each) => each.works.includes(work.name)) })),
  ...chapters.map((each) => ({ ...each, kind: "chapter", name: each.title, note: "", pages: [each] })),
];

/** The entries that have every wanted type. */
const select = (entries, wanted) => entries.filter(({ types }) => wanted.every((name) => types.includes(name)));

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const listed = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join(""));

/** One fieldset a criterion, one check box a type, with the number of works that would remain. */
function makeFilters(view, criteria, wanted) {
  const boxes = new Map();
  const groups = criteria.map(({ title, question, types }) => html(
    "fieldset", { class: "attnlib-map-criterion" },
    html("legend", { text: title }),
    html("p", { class: "attnlib-map-question", text: question }),
    ...types.map((name) => {
      const box = toggle({
        label: name,
        onInput: (on) => view.set({ types: on ? [...wanted(), name] : wanted().filter((other) => other !== name) }),
      });
      boxes.set(name, box);
      return box.node;
    }),
  ));
  return {
    node: html("div", { class: "attnlib-map-criteria" }, ...groups),
    update(types, works) {
      for (const [name, box] of boxes) {
        const count = select(works, [name]).length;
        box.update(types.includes(name), { label: `${name} (${count})` });
      }
    },
  };
}

/** The card of an entry: whose it is, its types by criterion, a note, and where the book treats it. */
function makeCard(entry, criteria) {
  const types = new Map();
  const rows = criteria.map(({ short, types: known }) => {
    const own = known.filter((name) => entry.types.includes(name));
    const words = own.flatMap((name, i) => {
      const word = html("span", { class: "attnlib-map-type", text: name });
      types.set(name, word);
      return i ? [", ", word] : [word];
    });
    return html("div", {}, html("dt", { text: short }), html("dd", {}, ...(own.length ? words : ["any"])));
  });
  const links = entry.pages.flatMap(({ href, title }, i) => {
    const link = html("a", { class: "attnlib-map-link", href, text: title });
    return i ? ["; ", link] : [link];
  });
  const treated = html("p", { class: "attnlib-map-pages" }, entry.kind === "work" ? "In this book: " : "Open: ", ...links);
  const node = html(
    "li", { class: "attnlib-map-card" },
    html("p", { class: "attnlib-map-name" }, html("strong", { text: entry.name }), html("span", { text: ` ${entry.by}` })),
    html("dl", {}, ...rows),
    html("p", { class: "attnlib-map-note", text: entry.note, hidden: entry.note === "" }),
    ...(links.length ? [treated] : []),
  );
  return {
    node,
    update(shown, wanted) {
      write(node, { hidden: !shown });
      for (const [name, word] of types) write(word, { "data-asked": wanted.includes(name) });
    },
  };
}

function build(view, first) {
  let wanted = first.types;
  const { criteria } = first;
  const entries = withChapters(first.entries, chaptersHere());
  const filters = makeFilters(view, criteria, () => wanted);
  const clear = button({ label: "Untick all", onClick: () => view.set({ types: [] }) });
  const news = html("p", { class: "attnlib-map-news" });
  const cards = new Map(entries.map((entry) => [entry, makeCard(entry, criteria)]));
  const sections = KINDS.map((kind) => {
    const count = html("p", { class: "attnlib-map-count" });
    const list = html("ul", { class: "attnlib-map-cards", "aria-label": kind === "work" ? "Works" : "Chapters of this book" });
    for (const entry of entries) if (entry.kind === kind) list.append(cards.get(entry).node);
    return { kind, count, list, all: entries.filter((entry) => entry.kind === kind) };
  });
  view.root.append(filters.node, html("div", { class: "attnlib-map-bar" }, news, clear.node));
  for (const { count, list } of sections) view.root.append(count, list);

  let said = "";
  return (state) => {
    wanted = state.types;
    const remaining = new Set(select(entries, wanted));
    for (const [entry, card] of cards) card.update(remaining.has(entry), wanted);
    const works = [...remaining].filter(({ kind }) => kind === "work");
    filters.update(wanted, works);
    clear.update({ disabled: wanted.length === 0 });
    for (const { kind, count, list, all } of sections) {
      const left = all.filter((entry) => remaining.has(entry)).length;
      write(count, { text: `${left} of ${plural(all.length, "chapter")} of this book`, hidden: kind === "work" || all.length === 0 });
      write(list, { hidden: left === 0 });
    }
    const asked = wanted.length ? `Asked for: ${listed(wanted)}. ` : "Nothing asked for. ";
    const found = works.length
      ? `${works.length} of ${plural(sections[0].all.length, "work")} ${works.length === 1 ? "remains" : "remain"}.`
      : "No work here stands in this place. That says it is empty, not that it is impossible.";
    write(news, { text: asked + found });
    if (said && said !== asked + found) view.say(asked + found);
    said = asked + found;
  };
}

const unnamed = "Your own question";
const hint = "Tick two types: do any works have both, and which ones?";

export default { build, unnamed, hint };
