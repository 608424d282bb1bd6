// The same rules as in traits.py, from the same table: what a trait may be is said once, in Python.

const finite = (value) => typeof value === "number" && Number.isFinite(value);
const KINDS = {
  any: () => true,
  number: finite,
  whole: Number.isInteger,
  flag: (value) => typeof value === "boolean",
  text: (value) => typeof value === "string",
  choice: (value, { names }) => names.includes(value),
  picture: (value, { least, most }) => {
    const names = value !== null && typeof value === "object" ? Object.keys(value).sort().join() : "";
    if (names !== "height,rgb,width" || typeof value.rgb !== "string") return false;
    const sides = [value.height, value.width].every((side) => Number.isInteger(side) && side >= least && side <= most);
    return sides && /^[A-Za-z0-9+/]*$/.test(value.rgb) && value.rgb.length === 4 * value.height * value.width;
  },
  record: (value, { fields }, sizes) => {
    if (value === null || typeof value !== "object") return false;
    const inner = new Map();
    const names = Object.keys(fields);
    if (Object.keys(value).length !== names.length || !names.every((name) => fits(fields[name], value[name], inner)))
      return false;
    return [...inner].every(([name, size]) => name.startsWith("_") || agree(sizes, name, size));
  },
};

function agree(sizes, name, size) {
  if (!sizes.has(name)) sizes.set(name, size);
  return sizes.get(name) === size;
}

/** Whether a value is what `spec` asks for; lengths of named dimensions go into `sizes`. */
export function fits(spec, value, sizes) {
  const own = new Map();
  function level(part, depth) {
    if (depth < spec.shape.length) {
      const [name, least, most] = spec.shape[depth];
      if (!Array.isArray(part) || part.length < least || part.length > (most ?? Infinity)) return false;
      if (!agree(own, depth, part.length) || (name && !agree(sizes, name, part.length))) return false;
      return part.every((item) => level(item, depth + 1));
    }
    const { above = -Infinity, least = -Infinity, most = Infinity } = spec;
    const within = typeof part !== "number" || (part > above && part >= least && part <= most);
    return KINDS[spec.kind](part, spec, sizes) && within;
  }
  return level(value, 0);
}

function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** A function of a state that throws an Error which names the bad trait; it looks again only at what has changed. */
export function checker(schema) {
  const seen = new Map();
  return (state) => {
    const fresh = Object.keys(schema).filter((name) => !seen.has(name) || seen.get(name).value !== state[name]);
    if (!fresh.length) return;
    for (const name of fresh) {
      const sizes = new Map();
      if (!fits(schema[name], state[name], sizes))
        throw new Error(`${name} must be ${schema[name].words}; got ${shown(state[name])}`);
      seen.set(name, { value: state[name], sizes });
    }
    const all = new Map();
    for (const [name, { sizes }] of seen) {
      for (const [size, length] of sizes) {
        const [other, wanted] = all.get(size) ?? [name, length];
        all.set(size, [other, wanted]);
        if (length !== wanted) throw new Error(`${name} has ${size}=${length} but ${other} has ${size}=${wanted}`);
      }
      const { below } = schema[name];
      if (below && !(state[name] < state[below].length))
        throw new Error(`${name} must be below ${state[below].length}, the length of ${below}; got ${state[name]}`);
    }
  };
}
