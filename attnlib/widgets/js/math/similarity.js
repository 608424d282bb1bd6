// How like two maps of words are, as in attnlib.frontiers.similarity.

/** How often a selected word outranks one that is not, ties half; NaN where all are selected or none. */
export function auc(selected, scores) {
  const [ones, noughts] = [true, false].map((kind) => scores.filter((_, i) => selected[i] === kind));
  let wins = 0;
  for (const one of ones) for (const nought of noughts) wins += one > nought ? 1 : one === nought ? 0.5 : 0;
  return wins / (ones.length * noughts.length);
}

/** As many words as asked, those with the largest scores; of equal ones the earlier. */
export function top(scores, count) {
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  const found = scores.map(() => false);
  for (const i of order.slice(0, count)) found[i] = true;
  return found;
}

/** The share of each kind among the selected words. */
function shares(selected, kinds, n) {
  const found = Array(n).fill(0);
  let count = 0;
  selected.forEach((is, i) => {
    if (!is) return;
    found[kinds[i]] += 1;
    count += 1;
  });
  return found.map((number) => number / count);
}

/** Pearson's correlation of the kinds of two selections; NaN where one of them is empty, or of all kinds alike. */
export function lexical(selected, other, kinds, n) {
  const [one, two] = [selected, other].map((map) => shares(map, kinds, n).map((part) => part - 1 / n));
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const flat = Math.min(...[one, two].map((map) => Math.max(...map.map(Math.abs)))) < 1e-12;
  return flat ? NaN : dot(one, two) / Math.sqrt(dot(one, one) * dot(two, two));
}

/** What is left above chance, as a share of what could be left. */
export const adjusted = (similarity, chance) => (chance === 1 ? NaN : (similarity - chance) / (1 - chance));

/** Scores that mean nothing: so many lists for so many words, the same each time. */
export function drawn(words, draws) {
  let state = 1;
  const next = () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state;
  };
  return Array.from({ length: draws }, () => Array.from({ length: words }, next));
}

/** The mean similarity of random selections of the same size with this one; without those that have none. */
export function chance(selected, kinds, n, scores) {
  const count = selected.filter(Boolean).length;
  const found = scores.map((each) => lexical(selected, top(each, count), kinds, n)).filter((x) => !Number.isNaN(x));
  return found.reduce((sum, x) => sum + x, 0) / found.length;
}

/** Selected words of the other polarity for each of the text's own; NaN where none of its own was selected. */
export function crossSentiment(selected, polarity, sentiment) {
  const count = (sign) => selected.filter((is, i) => is && Math.sign(polarity[i]) === sign).length;
  return count(sentiment) ? count(-sentiment) / count(sentiment) : NaN;
}
