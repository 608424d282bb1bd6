// What a way to attend costs: the table of attnlib.book.costs, evaluated.

/** A sum of products of the letters' values: `{ nnd: 2 }` is two times n, n and d. */
const sum = (terms, place) =>
  Object.entries(terms).reduce(
    (total, [letters, times]) => total + [...letters].reduce((product, letter) => product * place[letter], times),
    0,
  );

/** The counts of all heads of a mechanism; `held` in bytes. */
export function counted(
  { multiply_adds: products, numbers, held, steps },
  { length, heads, width, window, both, size, block },
) {
  const place = { n: length, m: Math.ceil(length / block) * block, d: width, s: Math.min(window, length) + block - 1 };
  const most = Math.max(...held[both].map((terms) => sum(terms, place)));
  return {
    products: heads * sum(products[both], place),
    numbers: heads * sum(numbers, place),
    held: heads * size * most,
    steps: sum(steps, place),
  };
}

/** Count times constant, in picoseconds of the processor that the constants were measured on. */
export const time = ({ products, numbers, steps }, [one, other, last]) =>
  products * one + numbers * other + steps * last;

/** From where to where it holds, both included: tried at these lengths, and by halving between two that differ. */
export function where(holds, lengths) {
  const runs = [];
  let start = lengths.length && holds(lengths[0]) ? lengths[0] : 0;
  for (let i = 1; i < lengths.length; i++) {
    let [low, high] = [lengths[i - 1], lengths[i]];
    const now = holds(high);
    if (now === Boolean(start)) continue;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (holds(middle) === now) high = middle;
      else low = middle;
    }
    if (!now) runs.push([start, low]);
    start = now ? high : 0;
  }
  return start ? [...runs, [start, lengths.at(-1)]] : runs;
}

/** The most tokens, up to `most`, for which no more than so many bytes are held; 0 if not one. */
export function longest(kind, memory, options, most) {
  let [low, high] = [0, most + 1];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (counted(kind, { ...options, length: middle }).held <= memory) low = middle;
    else high = middle;
  }
  return low;
}
