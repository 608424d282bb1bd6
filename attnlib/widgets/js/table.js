// A table of numbers: a name in the first column, numbers in the others.

import { html, pool, write } from "./dom.js";

const plain = (node) => ({ node, put: (text) => write(node, { text }) });

/** A bar as long as its part of one; with `before`, an outline where it was. */
export function gauge() {
  const bar = html("span");
  const node = html("span", { class: "attnlib-gauge", "aria-hidden": "true" }, bar);
  const long = (part) => ({ style: `width:${(100 * part).toFixed(2)}%` });
  let ghost = null;
  return {
    node,
    update(part, before) {
      write(bar, long(part));
      if (before !== undefined) ghost ??= node.appendChild(html("span", { class: "attnlib-ghost" }));
      if (ghost) write(ghost, { ...long(before ?? 0), hidden: !(before > 0.01) }); // one thinner than its line is none
    },
  };
}

/** A cell with a bar to its number: it takes { text, part, before }. */
function barred() {
  const [words, bar] = [html("span"), gauge()];
  const node = html("td", {}, words, bar.node);
  return {
    node,
    put({ text, part, before }) {
      write(words, { text });
      write(node, { "data-zero": part === 0 });
      bar.update(part, before);
    },
  };
}

/**
 * `columns` are the heads, the first `bars` of them after the name with bars.
 * `update(rows, { caption, corner, heads, sums, shown, kind, lang, marked })`:
 * rows of texts, each led by its name; what the names are; other heads; a row of sums below; which rows are marked as shown; the class of a row;
 * the language of the names, and which of them are marked.
 */
export function table({ columns, caption = "", kind = "", sums = false, bars = 0 }) {
  const row = () => {
    const cells = columns.map((_, i) => {
      if (i && i <= bars) return barred();
      return plain(i ? html("td", { class: "attnlib-number" }) : html("th", { scope: "row" }));
    });
    return { node: html("tr", {}, ...cells.map(({ node }) => node)), cells };
  };
  const fill = ({ cells }, values) => cells.forEach(({ put }, i) => put(values[i]));
  const words = html("caption", { text: caption });
  const titles = columns.map((text, i) =>
    html("th", { scope: "col", text, class: i > bars ? "attnlib-number" : null }),
  );
  const body = html("tbody");
  const lines = pool(body, row);
  const last = sums ? row() : null;
  const node = html(
    "table",
    { class: `attnlib-table ${kind}`.trim() },
    words,
    html("thead", {}, html("tr", {}, ...titles)),
    body,
  );
  if (last) node.append(html("tfoot", {}, last.node));
  return {
    node,
    update(
      rows,
      { caption: retold, corner = columns[0], heads = columns, sums: total, shown, kind: classes, lang, marked } = {},
    ) {
      titles.forEach((title, i) => write(title, { text: i ? heads[i] : corner }));
      if (retold !== undefined) write(words, { text: retold });
      lines(rows.length).forEach((line, i) => {
        fill(line, rows[i]);
        write(line.cells[0].node, { lang, "data-marked": marked ? marked(i) : null });
        write(line.node, { "data-shown": shown ? shown(i) : null, class: classes ? classes(i) : null });
      });
      if (last && total) fill(last, total);
    },
  };
}
