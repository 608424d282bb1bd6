// Hops and their penalty, as attnlib.output_representations.structured_self.

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const square = (value) => value * value;
const pairs = (rows) => rows.flatMap((a, i) => rows.slice(i + 1).map((b) => [a, b]));

/** Of the rows of weights: the penalty, its two parts, the mean cosine of two rows, and how many words a row is on. */
export function hops(rows) {
  const sharp = rows.reduce((sum, row) => sum + square(dot(row, row) - 1), 0);
  const apart = 2 * pairs(rows).reduce((sum, [a, b]) => sum + square(dot(a, b)), 0);
  const cosines = pairs(rows).map(([a, b]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)));
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : 1);
  return {
    penalty: sharp + apart,
    sharp,
    apart,
    overlap: mean(cosines),
    reach: mean(rows.map((row) => 1 / dot(row, row))),
  };
}
