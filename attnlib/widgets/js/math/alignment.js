// Alignments as in attnlib.alignment.

/** The links [row, column] that a weight matrix stands for: the first of the largest of each row, if above 0. */
export function linksOf(weights) {
  return weights.flatMap((row, t) => {
    const top = Math.max(...row);
    return top > 0 ? [[t, row.indexOf(top)]] : [];
  });
}

/** Precision, recall and alignment error of links against sure ones and (with these) possible ones. */
export function alignmentError(predicted, sure, possible = []) {
  const keyed = (links) => new Set(links.map(([t, s]) => `${t} ${s}`));
  const [found, certain, either] = [keyed(predicted), keyed(sure), keyed([...sure, ...possible])];
  const both = (others) => [...found].filter((link) => others.has(link)).length;
  const [agreed, defensible, all] = [both(certain), both(either), found.size + certain.size];
  return {
    agreed,
    precision: found.size ? defensible / found.size : 1,
    recall: certain.size ? agreed / certain.size : 1,
    error: all ? 1 - (agreed + defensible) / all : 0,
  };
}
