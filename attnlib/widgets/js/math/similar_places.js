// Non-local means of a picture, at one place: as attnlib.widgets.frontiers.similar_places, whose weights are
// attnlib.frontiers.nonlocal_block.gaussian over patches.

/** Numbers from 0 to 1 that look drawn at random, the same each time (the generator mulberry32). */
function uniform(i) {
  const a = Math.imul(i + 1, 1831565813) | 0;
  let t = Math.imul(a ^ (a >>> 15), 1 | a);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
}

/** So many numbers of a normal distribution (Box and Muller), the same each time. */
export const normal = (count) =>
  Float64Array.from(
    { length: count },
    (_, i) => Math.sqrt(-2 * Math.log(uniform(2 * i))) * Math.cos(2 * Math.PI * uniform(2 * i + 1)),
  );

/** Pixels with noise of a standard deviation, as numbers around 0 to 1 that are not cut off; row by row, three a pixel. */
export function noisy({ height, width, rgb }, drawn, noise) {
  return { height, width, data: Float64Array.from(rgb, (value, i) => value / 255 + noise * drawn[i]) };
}

/**
 * The weight of each place of a picture for one of them, and the mean colour under these weights: exp(−D/h²) over its sum,
 * D the mean squared difference of two patches of 2 · reach + 1 pixels a side. A patch that leaves the picture repeats its edge.
 */
export function similar({ height, width, data }, { row, column, reach, bandwidth }) {
  const held = (place, size) => Math.min(Math.max(place, 0), size - 1);
  const [rows, columns] = [[], []];
  for (let i = -reach; i < height + reach; i += 1) rows.push(3 * width * held(i, height));
  for (let j = -reach; j < width + reach; j += 1) columns.push(3 * held(j, width));
  const side = 2 * reach + 1;
  const energies = new Float64Array(height * width);
  for (let i = 0, n = 0; i < height; i += 1) {
    for (let j = 0; j < width; j += 1, n += 1) {
      let sum = 0;
      for (let a = 0; a < side; a += 1) {
        for (let b = 0; b < side; b += 1) {
          const here = rows[i + a] + columns[j + b];
          const there = rows[row + a] + columns[column + b];
          for (let c = 0; c < 3; c += 1) {
            const apart = data[here + c] - data[there + c];
            sum += apart * apart;
          }
        }
      }
      energies[n] = -sum / (3 * side * side * bandwidth ** 2);
    }
  }
  const weights = energies.map(Math.exp); // the place itself has energy 0, the largest
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = [0, 0, 0];
  weights.forEach((weight, n) => {
    weights[n] = weight / total;
    for (let c = 0; c < 3; c += 1) mean[c] += weights[n] * data[3 * n + c];
  });
  return { weights, mean };
}
