// What a reader types, read: numbers and formulas, by a parser of our own that knows arithmetic and nothing else.

const FUNCTIONS = {
  sqrt: Math.sqrt,
  exp: Math.exp,
  ln: Math.log,
  log: Math.log,
  tanh: Math.tanh,
  sin: Math.sin,
  cos: Math.cos,
  abs: Math.abs,
};
const CONSTANTS = { e: Math.E, pi: Math.PI, π: Math.PI, inf: Infinity, infinity: Infinity, "∞": Infinity };
const OPERATORS = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "^": Math.pow,
};
const LONGEST = 200; // signs
const DEEPEST = 50; // brackets, signs and powers within each other
const POINTS = 24;

/** Something is not read: a message for the reader, and no verdict on the answer. */
export class Unread extends Error {}

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function tidied(text) {
  if (text.trim() === "") throw new Unread("Type an answer first.");
  if (text.length > LONGEST) throw new Unread("That is too long to be an answer.");
  return text
    .replace(/\\frac\{([^{}]*)\}\{([^{}]*)\}/g, "(($1)/($2))")
    .replace(/\\(cdot|times)/g, "*")
    .replace(/\\/g, "")
    .replace(/_\{(\w+)\}/g, "_$1")
    .replace(/[−–—]/g, "-")
    .replace(/\*\*/g, "^")
    .replace(/[·×⋅∗]/g, "*")
    .replace(/[÷∕]/g, "/")
    .replace(/√/g, "sqrt ")
    .replace(/[⁰¹²³⁴-⁹]+/g, (signs) => `^(${[...signs].map((sign) => RAISED.indexOf(sign)).join("")})`)
    .replace(/[[{]/g, "(")
    .replace(/[\]}]/g, ")")
    .trim();
}

function pieces(text) {
  const found = [];
  const piece = /\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|([\p{L}∞][\p{L}\p{N}_]*)|([-+*/^()]))/uy;
  let at = 0;
  while (at < text.length) {
    piece.lastIndex = at;
    const match = piece.exec(text);
    if (!match) throw new Unread(`I cannot read “${text.slice(at).trim().slice(0, 12)}”.`);
    at = piece.lastIndex;
    if (match[1]) found.push({ number: Number(match[1]) });
    else if (match[2]) found.push({ word: match[2] });
    else found.push({ sign: match[3] });
  }
  return found;
}

const bare = (name) => name.replaceAll("_", "");

/** The letters of a word, longest first: with the letters m, n and d_k, “mnd_k” and “mndk” are three factors. */
function letters(word, known) {
  const names = known.map((name) => [bare(name), name]).sort(([one], [other]) => other.length - one.length);
  const split = (rest) => {
    if (rest === "") return [];
    for (const [written, name] of names) {
      if (!rest.startsWith(written)) continue;
      const more = split(rest.slice(written.length));
      if (more) return [name, ...more];
    }
    return null;
  };
  const found = split(bare(word)) ?? split(bare(word).toLowerCase());
  if (found) return found;
  const meant = known.length ? `The letters here are ${known.join(", ")}.` : "The answer is a number.";
  throw new Unread(`I do not know “${word.slice(0, 20)}”. ${meant}`);
}

/** The tree of a text: a number, a name, or [operator or function, part, part]. */
export function parse(text, variables = []) {
  const known = [...variables, ...Object.keys(CONSTANTS).filter((name) => !variables.includes(name))];
  const left = [];
  for (const piece of pieces(tidied(text))) {
    if (!piece.word || Object.hasOwn(FUNCTIONS, piece.word)) left.push(piece);
    else if (known.includes(piece.word)) left.push({ name: piece.word });
    else left.push(...letters(piece.word, variables).map((name) => ({ name })));
  }
  let at = 0;
  let depth = 0;
  const sign = () => left[at]?.sign;
  const deeper = (read) => {
    if (++depth > DEEPEST) throw new Unread("That is too deep to read.");
    const made = read();
    depth -= 1;
    return made;
  };
  const sum = () => {
    let made = product();
    while (sign() === "+" || sign() === "-") made = [left[at++].sign, made, product()];
    return made;
  };
  const product = () => {
    let made = signed();
    for (;;) {
      if (sign() === "*" || sign() === "/") made = [left[at++].sign, made, signed()];
      else if (at < left.length && (!sign() || sign() === "(")) made = ["*", made, power()];
      else return made;
    }
  };
  const signed = () => {
    if (sign() !== "-" && sign() !== "+") return power();
    return left[at++].sign === "-" ? ["negative", deeper(signed)] : deeper(signed);
  };
  const power = () => {
    const made = atom();
    if (sign() !== "^") return made;
    at += 1;
    return ["^", made, deeper(signed)];
  };
  const atom = () => {
    const piece = left[at++];
    if (piece === undefined) throw new Unread("Something is missing at the end.");
    if ("number" in piece) return piece.number;
    if (piece.name) return piece.name;
    if (piece.word) return [piece.word, deeper(sign() === "(" ? atom : power)];
    if (piece.sign !== "(") throw new Unread(`Something is missing before “${piece.sign}”.`);
    const made = deeper(sum);
    if (sign() !== ")") throw new Unread("A bracket is not closed.");
    at += 1;
    return made;
  };
  const made = sum();
  if (at < left.length) throw new Unread("A bracket is closed that was not opened.");
  return made;
}

export function evaluate(tree, values = {}) {
  if (typeof tree === "number") return tree;
  if (typeof tree === "string") return Object.hasOwn(values, tree) ? values[tree] : CONSTANTS[tree];
  const [kind, ...parts] = tree;
  const made = parts.map((part) => evaluate(part, values));
  if (kind === "negative") return -made[0];
  return (OPERATORS[kind] ?? FUNCTIONS[kind])(...made);
}

/** The tree as it was understood, with every bracket that was only meant. */
export function shown(tree, above = 0) {
  if (typeof tree === "number") return String(tree).replace("-", "−");
  if (typeof tree === "string") return tree;
  const [kind, ...parts] = tree;
  if (Object.hasOwn(FUNCTIONS, kind)) return `${kind}(${shown(parts[0])})`;
  const rank = { "+": 1, "-": 1, "*": 2, "/": 2, negative: 2, "^": 4 }[kind];
  const said =
    kind === "negative"
      ? `−${shown(parts[0], 3)}`
      : kind === "^"
        ? `${shown(parts[0], 5)}^${shown(parts[1], 4)}`
        : `${shown(parts[0], rank)} ${{ "*": "·", "-": "−" }[kind] ?? kind} ${shown(parts[1], rank + 1)}`;
  return rank < above ? `(${said})` : said;
}

/** Points at which formulas are compared, the same each time; `variables` gives each letter its range. */
export function points(variables) {
  let state = 12345;
  const random = () => (state = (1103515245 * state + 12345) % 2147483648) / 2147483648;
  return Array.from({ length: POINTS }, () =>
    Object.fromEntries(Object.entries(variables).map(([name, [from, to]]) => [name, from + (to - from) * random()])),
  );
}

const near = (one, other, within) => one === other || (Number.isFinite(one - other) && Math.abs(one - other) <= within);

/** Whether two formulas have the same values wherever `wanted` has one. */
export function alike(given, wanted, variables) {
  let met = 0;
  for (const point of points(variables)) {
    const value = evaluate(wanted, point);
    if (!Number.isFinite(value)) continue;
    met += 1;
    const own = evaluate(given, point);
    if (!near(own, value, 1e-9 * Math.max(Math.abs(own), Math.abs(value)))) return false;
  }
  return met > 0;
}

/** What a number can mean: “0,29” and “1,250” have a comma, “29 %” a sign, and the unit may be written behind. */
export function readings(text, unit = "") {
  let rest = tidied(text).replace(/^[=≈]\s*/, "");
  let part = 1;
  if (unit && rest.toLowerCase().endsWith(unit.toLowerCase())) rest = rest.slice(0, -unit.length).trim();
  else if (/[\d)\s]%$/.test(rest)) [rest, part] = [rest.slice(0, -1), 0.01];
  const ways = rest.includes(",") ? [] : [rest];
  if (/\d,\d{3}(?!\d)/.test(rest)) ways.push(rest.replace(/,(?=\d{3})/g, ""));
  if (/^[^,]*\d,\d+[^,]*$/.test(rest)) ways.push(rest.replace(",", "."));
  if (!ways.length) throw new Unread("Write one number, with a point for the decimals.");
  const found = ways.map((way) => part * evaluate(parse(way)));
  if (found.some(Number.isNaN)) throw new Unread("That is no number.");
  return [...new Set(found)];
}

/** Whether a number is meant: within a distance, or, without one, but for rounding. */
export function close(one, other, within) {
  return near(one, other, within || 1e-9 * Math.max(Math.abs(one), Math.abs(other)));
}
