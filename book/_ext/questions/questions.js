// Questions that the page checks. Without this script a question stands there with its answer folded, and with every
// hint in it; with it the reader answers first. Right answer, wrong ones and hints come from the page.
import { Unread, alike, close, parse, readings, shown } from "./formula.js";

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const equal = (one, other) => one.length === other.length && one.every((each, i) => each === other[i]);

/** The number of the hint for an answer, -1 for none, null if it is right. Each kind has its own. */
export const JUDGES = {
  number({ answer, wrong, within = 0, unit = "" }, text) {
    const given = readings(text, unit);
    const value = (written) => readings(written, unit)[0];
    const met = (written) => given.some((each) => close(each, value(written), within));
    if (met(answer)) return null;
    const found = wrong.findIndex((written) => !SIDES[written] && met(written));
    return found < 0 ? wrong.findIndex((written) => SIDES[written]?.(given[0], value(answer))) : found;
  },
  formula({ answer, wrong, variables }, text) {
    const names = Object.keys(variables);
    const given = parse(text, names);
    const met = (written) => alike(given, parse(written, names), variables);
    if (met(answer)) return null;
    const found = wrong.findIndex((written) => written !== "*" && met(written));
    return found < 0 ? wrong.indexOf("*") : found;
  },
  order({ answer, wrong }, given) {
    if (equal(answer, given)) return null;
    // A hint is for those whose order has its items one after the other, be it with others between them.
    const met = (some) => some.reduce((at, each) => (at < 0 ? at : given.indexOf(each, at)), 0) >= 0;
    const found = wrong.findIndex((some) => some !== "*" && met(some));
    return found < 0 ? wrong.indexOf("*") : found;
  },
  choice: ({ answer, wrong }, given) =>
    given === answer ? null : wrong.findIndex((each) => [given, "*"].includes(each)),
  cell({ answer, wrong }, given) {
    if (equal(answer, given)) return null;
    return wrong.findIndex(
      (each) => each === "*" || each.every((place, side) => place === null || place === given[side]),
    );
  },
};
const SIDES = { less: (given, right) => given < right, more: (given, right) => given > right, "*": () => true };

/** What was answered, told below it: a hint from the page, with its formulas, or plain words. */
function teller(box) {
  const status = make("div", { class: "attnlib-said", role: "status" });
  const hints = [...box.querySelectorAll(".question-hints > li")];
  const answer = box.querySelector(".question-why");
  const tell = (kind, ...nodes) => {
    status.dataset.said = kind;
    status.replaceChildren(...nodes);
    const unset = [...status.querySelectorAll(".math:not(:has(mjx-container))")];
    if (unset.length) window.MathJax?.typesetPromise?.(unset);
  };
  const said = (node) => [...node.cloneNode(true).childNodes];
  return {
    status,
    clear: () => tell("", ""),
    unread: (message) => tell("unread", make("p", {}, message)),
    verdict(hint, read = "") {
      if (hint === null) return tell("right", make("p", {}, make("strong", {}, "Right.")), ...said(answer));
      const words = [make("strong", {}, "Not yet."), ...(read ? [` I read ${read}.`] : [])];
      if (hint < 0) return tell("wrong", make("p", {}, ...words, " Try again, or open the answer below."));
      const told = hints[hint].cloneNode(true);
      told.querySelector(".question-wrong")?.remove();
      tell("wrong", make("p", {}, ...words), ...told.childNodes);
    },
  };
}

let serial = 0;

/** A field to type into, for numbers and formulas. */
function field(data, told) {
  const id = `attnlib-question-${(serial += 1)}`;
  const names = Object.keys(data.variables ?? {});
  const words = names.length ? `Your formula in ${names.join(", ")}` : "Your answer";
  const input = make("input", { id, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  told.status.id = `${id}-said`;
  input.setAttribute("aria-describedby", told.status.id);
  const unit = data.unit ? make("span", { class: "attnlib-unit" }, data.unit) : "";
  const form = make(
    "form",
    {},
    make("label", { for: id }, words),
    input,
    unit,
    make("button", { type: "submit" }, "Check"),
  );
  if (data.unit) input.setAttribute("aria-label", `${words}, ${data.unit}`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      const hint = JUDGES[data.kind](data, input.value);
      input.setAttribute("aria-invalid", String(hint !== null));
      told.verdict(hint, names.length ? shown(parse(input.value, names)) : "");
    } catch (error) {
      if (!(error instanceof Unread)) throw error;
      input.removeAttribute("aria-invalid");
      told.unread(error.message);
    }
  });
  return form;
}

/** A list whose items are chosen. */
function choice(data, told, items) {
  const name = `attnlib-question-${(serial += 1)}`;
  const form = make("form");
  const fields = make("fieldset", {}, make("legend", { class: "attnlib-unseen" }, data.title));
  items.replaceWith(form);
  form.append(fields);
  fields.append(items);
  [...items.children].forEach((item, i) => {
    const input = make("input", { type: "radio", name, value: i });
    input.addEventListener("change", () => told.clear());
    const words = make("span", {}, ...(item.querySelector(":scope > p") ?? item).childNodes);
    item.replaceChildren(make("label", {}, input, words));
  });
  fields.append(make("button", { type: "submit" }, "Check"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = form.querySelector("input:checked");
    if (chosen) told.verdict(JUDGES.choice(data, Number(chosen.value)));
    else told.unread("Choose one first.");
  });
  return form;
}

/** A list whose items are moved up and down. */
function order(data, told, items) {
  const form = make("form", { class: "attnlib-ordering" });
  items.replaceWith(form);
  const all = [...items.children];
  const arrows = new Map();
  const place = (item) => [...items.children].indexOf(item);
  const look = () => {
    for (const item of all)
      arrows.get(item).forEach((arrow, down) => {
        const last = place(item) === (down ? all.length - 1 : 0);
        arrow.setAttribute("aria-disabled", String(last)); // one that is disabled would lose the focus
      });
  };
  all.forEach((item, i) => {
    item.value = i + 1; // keeps its letter where it goes
    const words = make("span", {}, ...(item.querySelector(":scope > p") ?? item).childNodes);
    const made = ["up", "down"].map((way, down) => {
      const label = `Move ${way}: ${data.items[i]}`;
      const arrow = make("button", { type: "button", "aria-label": label }, down ? "↓" : "↑");
      arrow.addEventListener("click", () => {
        const other = down ? item.nextElementSibling : item.previousElementSibling;
        if (!other) return;
        if (down) other.after(item);
        else other.before(item);
        arrow.focus();
        look();
        told.unread(`${data.items[i]}: now ${place(item) + 1} of ${all.length}.`);
      });
      return arrow;
    });
    arrows.set(item, made);
    item.replaceChildren(make("span", { class: "attnlib-moves" }, ...made), words);
  });
  look();
  form.append(items, make("button", { type: "submit" }, "Check"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    told.verdict(
      JUDGES.order(
        data,
        [...items.children].map((item) => all.indexOf(item)),
      ),
    );
  });
  return form;
}

/** A map whose cells are pressed. What is a share of one is shaded by it. */
function cell(data, told, table) {
  const heads = [...table.querySelector("thead tr").children].map((head) => head.textContent.trim());
  const rows = [...table.querySelectorAll("tbody tr")].map((row) => [...row.children]);
  const shares = rows.flatMap((row) => row.slice(1).map((each) => Number(each.textContent || NaN)));
  const shaded = shares.every((share) => share >= 0 && share <= 1);
  const buttons = rows.map((row, r) =>
    row.slice(1).map((each, c) => {
      const button = make("button", { type: "button", "aria-pressed": "false" }, ...each.childNodes);
      button.setAttribute(
        "aria-label",
        `${row[0].textContent.trim()}, ${heads[c + 1]}: ${button.textContent.trim() || "empty"}`,
      );
      button.addEventListener("click", () => {
        for (const other of buttons.flat()) other.setAttribute("aria-pressed", String(other === button));
        told.verdict(JUDGES.cell(data, [r, c]));
      });
      button.addEventListener("keydown", (event) => {
        const way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        const next = way && buttons[r + way[0]]?.[c + way[1]];
        if (next) next.focus();
        if (way) event.preventDefault();
      });
      if (shaded) button.style.setProperty("--share", `${100 * Number(button.textContent)}%`);
      each.replaceChildren(button);
      return button;
    }),
  );
  table.classList.add("attnlib-cells");
  return table;
}

const KINDS = { number: field, formula: field, choice, order, cell };

/** Bring a question to life; what it says stays where it is. */
function ask(box) {
  const data = JSON.parse(box.querySelector("script.question-data").textContent);
  const told = teller(box);
  const part = box.querySelector(
    data.kind === "cell" ? ":scope > .question-asks table" : ":scope > .question-asks ol.question-items",
  );
  const stands = KINDS[data.kind](data, told, part);
  const folded = box.querySelector(":scope > .question-answer");
  if (!stands.isConnected) folded.before(stands);
  folded.before(told.status);
  box.classList.add("attnlib-asks");
}

if (globalThis.document)
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".admonition.question").forEach(ask));
