// A table of numbers: a name in the first column, numbers in the others.

import { html, pool, write } from "./dom.js";

/**
 * `columns` are the heads. `update(rows, { caption, sums, shown })`: rows of texts, each led by its name; a row of sums
 * below; which rows are marked as shown.
 */
export function table({ columns, caption = "", kind = "", sums = false }) {
  const row = () => {
    const cells = columns.map((_, i) =>
      i ? html("td", { class: "attnlib-number" }) : html("th", { scope: "row" }),
    );
    return { node: html("tr", {}, ...cells), cells };
  };
  const fill = ({ cells }, texts) => cells.forEach((cell, i) => write(cell, { text: texts[i] }));
  const words = html("caption", { text: caption });
  const heads = columns.map((text, i) => html("th", { scope: "col", text, class: i ? "attnlib-number" : null }));
  const body = html("tbody");
  const lines = pool(body, row);
  const last = sums ? row() : null;
  const node = html("table", { class: `attnlib-table ${kind}`.trim() }, words, html("thead", {}, html("tr", {}, ...heads)), body);
  if (last) node.append(html("tfoot", {}, last.node));
  return {
    node,
    update(rows, { caption: retold, sums: total, shown } = {}) {
      if (retold !== undefined) write(words, { text: retold });
      lines(rows.length).forEach((line, i) => {
        fill(line, rows[i]);
        write(line.node, { "data-shown": shown ? shown(i) : null });
      });
      if (last && total) fill(last, total);
    },
  };
}
