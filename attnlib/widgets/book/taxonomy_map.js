// TaxonomyMap: tick types, see which works and chapters of the book have them all, and open the chapter.
//
// The chapters are no part of the state: the build of the book leaves them in the page, and elsewhere there are none.

import { button, toggle } from "../js/controls.js";
import { html, write } from "../js/dom.js";

/** The chapters that the page names: {title, href, by, types, works}, the works by their names. */
const chaptersHere = () => JSON.parse(document.getElementById?.("attnlib-chapters")?.textContent ?? "[]");

/** The entries that have every wanted type. */
const select = (entries, wanted) => entries.filter(({ types }) => wanted.every((name) => types.includes(name)));

const listed = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join(""));
const joined = (nodes, between) => nodes.flatMap((node, i) => (i ? [between, node] : [node]));

/** One fieldset a criterion, one check box a type, with the number of works that would remain. */
function filters(criteria, onInput) {
  const boxes = new Map();
  const groups = criteria.map(({ short, question, types }) => {
    for (const name of types) boxes.set(name, toggle({ label: name, onInput: (on) => onInput(name, on) }));
    return html(
      "fieldset",
      { class: "attnlib-map-criterion" },
      html("legend", { text: short }),
      html("p", { class: "attnlib-caption", text: question }),
      ...types.map((name) => boxes.get(name).node),
    );
  });
  return {
    node: html("div", { class: "attnlib-map-criteria" }, ...groups),
    update(types, works) {
      for (const [name, box] of boxes) {
        box.update(types.includes(name), { label: `${name} (${select(works, [name]).length})` });
      }
    },
  };
}

/** What the ticked types mean, a line each. */
function meanings(criteria) {
  const lines = new Map();
  for (const { types, meanings: said } of criteria) {
    for (const [i, name] of types.entries()) {
      if (said[i]) lines.set(name, html("li", {}, html("strong", { text: name }), `: ${said[i]}`));
    }
  }
  const marks = { class: "attnlib-caption attnlib-map-meanings", "aria-label": "Meanings" };
  const node = html("ul", marks, ...lines.values());
  return {
    node,
    update(types) {
      for (const [name, line] of lines) write(line, { hidden: !types.includes(name) });
      write(node, { hidden: !types.some((name) => lines.has(name)) });
    },
  };
}

/** Where nothing has all of these types: what would remain without one of them. */
function without(types, works) {
  const left = types.map((name) => [
    select(
      works,
      types.filter((other) => other !== name),
    ).length,
    name,
  ]);
  const some = left.filter(([count]) => count).map(([count, name]) => `${count} without ${name}`);
  return some.length ? ` There would be ${listed(some)}.` : "";
}

/** The card of an entry: whose it is, its types by criterion, a note, and where the book treats it. */
function card({ name, by, types, note, pages, open }, criteria) {
  const words = new Map(types.map((type) => [type, html("span", { class: "attnlib-map-type", text: type })]));
  const rows = criteria.map(({ short, types: known }) => {
    const own = known.filter((type) => words.has(type)).map((type) => words.get(type));
    return html("div", {}, html("dt", { text: short }), html("dd", {}, ...(own.length ? joined(own, ", ") : ["any"])));
  });
  const links = pages.map(({ href, title }) => html("a", { class: "attnlib-map-link", href, text: title }));
  const title = [html("strong", { text: name }), html("span", { text: ` ${by}` })];
  const head = html("p", { class: "attnlib-map-name" }, ...title);
  const node = html("li", { class: "attnlib-map-card" }, head, html("dl", {}, ...rows));
  if (note) node.append(html("p", { text: note }));
  if (links.length) node.append(html("p", {}, `${open}: `, ...joined(links, "; ")));
  return {
    types,
    update(shown, wanted) {
      write(node, { hidden: !shown });
      for (const [type, word] of words) write(word, { "data-asked": wanted.includes(type) });
    },
    node,
  };
}

function build(view, first) {
  let wanted = first.types;
  const chapters = chaptersHere();
  const tick = (name, on) => view.set({ types: on ? [...wanted, name] : wanted.filter((other) => other !== name) });
  const boxes = filters(first.criteria, tick);
  const meant = meanings(first.criteria);
  const clear = button({ label: "Untick all", onClick: () => view.set({ types: [] }) });
  const cards = (entries) => entries.map((entry) => card(entry, first.criteria));
  const treat = ({ name }) => chapters.filter(({ works }) => works.includes(name));
  const works = cards(first.entries.map((work) => ({ ...work, pages: treat(work), open: "In this book" })));
  const treated = cards(chapters.map((each) => ({ ...each, name: each.title, note: "", pages: [each], open: "Open" })));
  const list = (label, all) =>
    html("ul", { class: "attnlib-map-cards", "aria-label": label, tabindex: 0 }, ...all.map(({ node }) => node));
  const count = html("p", { class: "attnlib-caption" });
  const lists = [list("Works", works), list("Chapters of this book", treated)];
  const bar = html("div", { class: "attnlib-map-bar" }, view.caption, clear.node);
  view.root.append(boxes.node, bar, meant.node, lists[0], count, lists[1]);

  return (state) => {
    wanted = state.types;
    const [left, open] = [works, treated].map((all, i) => {
      const found = select(all, wanted);
      for (const each of all) each.update(found.includes(each), wanted);
      write(lists[i], { hidden: found.length === 0 });
      return found;
    });
    boxes.update(wanted, left);
    meant.update(wanted);
    clear.update({ disabled: wanted.length === 0 });
    const named = wanted.length ? " name this on their cards (any is not counted)" : "";
    const told = `${open.length} of ${treated.length} chapters of this book${named}`;
    write(count, { text: told, hidden: treated.length === 0 });
    const found = left.length
      ? `${left.length} of ${works.length} works ${left.length === 1 ? "remains" : "remain"}.`
      : `No work here stands in this place. That says it is empty, not that it is impossible.${without(wanted, works)}`;
    view.news(`${wanted.length ? `Asked for: ${listed(wanted)}` : "Nothing asked for"}. ${found}`);
  };
}

const unnamed = "Your own question";
const hint = "Tick two types: do any works have both, and which ones?";

export default { build, unnamed, hint };
