// Numbers by chance that are the same for the same seed, here and in Python.

/** A function that gives a number in [0, 1) each time: the generator known as mulberry32. */
export function uniform(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 1831565813) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A seed for each number: of a step of a run, say, so that any step can be had without those before it. */
export const seedOf = (seed, number) => (Math.imul(seed, 2654435761) + Math.imul(number + 1, 2246822507)) | 0;
