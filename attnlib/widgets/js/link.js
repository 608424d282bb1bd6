// A state as a piece of the page's address, and back: `query=1.2,0.9&labels=cat_dog` are the traits that differ from
// where the page starts, `preset` the preset that is chosen, `from` the one that was changed since.

import { fits } from "./check.js";

const BETWEEN = [",", "_", "~", "!"]; // items of a list, rows, and so on outwards
const NONE = "()"; // a list without items, which is not one with an empty text
const LONGEST = 2000; // signs of a link
const APART = ["preset", "presets"]; // what a preset says is the page's, not the reader's
const alike = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);

const said = (text) =>
  encodeURIComponent(text)
    .replace(/[_~!()]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
const heard = (text) => decodeURIComponent(text.replaceAll("+", "%20"));

const KINDS = {
  number: [
    (value) => String(Number(value.toPrecision(6))),
    (text) => (/^-?[\d.]+(e[-+]?\d+)?$/.test(text) ? Number(text) : NaN),
  ],
  whole: [String, (text) => (/^-?\d+$/.test(text) ? Number(text) : NaN)],
  flag: [(value) => (value ? "1" : "0"), (text) => ({ 1: true, 0: false })[text]],
  text: [said, heard],
  choice: [said, heard],
};
const JSONED = [(value) => said(JSON.stringify(value)), (text) => JSON.parse(heard(text))];

function coded(spec, value) {
  const [item] = KINDS[spec.kind] ?? JSONED;
  const depth = KINDS[spec.kind] ? spec.shape.length : 0;
  const level = (part, left) => {
    if (left === 0) return item(part);
    return part.length ? part.map((each) => level(each, left - 1)).join(BETWEEN[left - 1]) : NONE;
  };
  return level(value, depth);
}

function decoded(spec, text) {
  const [, item] = KINDS[spec.kind] ?? JSONED;
  const depth = KINDS[spec.kind] ? spec.shape.length : 0;
  const level = (part, left) => {
    if (left === 0) return item(part);
    return part === NONE ? [] : part.split(BETWEEN[left - 1]).map((each) => level(each, left - 1));
  };
  return level(text, depth);
}

const held = (presets, name) => presets?.find((preset) => preset.name === name)?.state;

/** The pieces of a link to `state` on a page that starts with `stored`; null if it is too long for one. */
export function write(schema, stored, state, started = "") {
  const chosen = state.preset || started;
  const base = { ...stored, ...held(state.presets, chosen) };
  const changed = Object.keys(schema).filter((name) => !APART.includes(name) && !alike(base[name], state[name]));
  const pieces = changed.map((name) => `${name}=${coded(schema[name], state[name])}`);
  if (state.preset ? chosen !== stored.preset || changed.length : chosen && chosen !== stored.preset)
    pieces.unshift(`${state.preset ? "preset" : "from"}=${said(chosen)}`);
  return pieces.join("&").length > LONGEST ? null : pieces;
}

/**
 * What the pieces of a link say on a page that starts with `stored`: a `preset` to start from, `changes` to make then,
 * and in words what is `left` out, because it is not known or is not what the schema asks for.
 */
export function read(schema, stored, pieces) {
  const made = { preset: "", changes: {}, left: [] };
  let kept = false;
  for (const piece of pieces.filter(Boolean)) {
    const [name, ...rest] = piece.split("=");
    let value;
    try {
      const spec = ["preset", "from"].includes(name) ? { kind: "text", shape: [] } : schema[name];
      if (!Object.hasOwn(schema, name === "from" ? "preset" : name) || name === "presets")
        made.left.push(`“${name.slice(0, 20)}” is nothing of this widget`);
      else {
        value = decoded(spec, rest.join("="));
        if (spec !== schema[name]) {
          if (!held(stored.presets, value)) made.left.push(`there is no preset “${value.slice(0, 40)}”`);
          else [made.preset, kept] = [value, name === "preset"];
        } else if (fits(spec, value, new Map())) made.changes[name] = value;
        else made.left.push(`${name} must be ${spec.words}`);
      }
    } catch {
      made.left.push(`${name.slice(0, 20)} is not readable`);
    }
  }
  const own = held(stored.presets, made.preset) ?? {};
  // What a preset says is true of its own state only.
  const changed = Object.keys(made.changes);
  const still = kept && !changed.some((name) => Object.hasOwn(own, name));
  if (changed.length && "preset" in schema) made.changes.preset = still ? made.preset : "";
  return made;
}
