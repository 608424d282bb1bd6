// Saliency as in attnlib.brain: centre and surround, co-occurrence, the scan path. A map is { height, width, data },
// row by row. What does not depend on weights is made once a picture by `features` and `rarities`.

const THRESHOLD = 64 * Number.EPSILON; // a smaller difference is rounding
const ROW = [1, 4, 6, 4, 1].map((part) => part / 16);
const SIZE = 9; // of the Gabor filters, in pixels
const WAVE = 7;

const made = (height, width, at) => {
  const data = new Float64Array(height * width);
  for (let i = 0, k = 0; i < height; i += 1) for (let j = 0; j < width; j += 1, k += 1) data[k] = at(i, j, k);
  return { height, width, data };
};
const each = ({ height, width, data }, change) => ({ height, width, data: data.map(change) });
const held = (place, size) => (place < 0 ? 0 : place < size ? place : size - 1);

/** The sum of maps of one size, each times its weight. */
function weighted(maps, weights) {
  return each(maps[0], (_, k) => maps.reduce((sum, { data }, n) => sum + weights[n] * data[k], 0));
}

/** Correlated with a row along each row and each column; of the places that are kept, every `step`th. */
function smoothed({ height, width, data }, row, step = 1) {
  const reach = (row.length - 1) / 2;
  const [rows, columns] = [Math.ceil(height / step), Math.ceil(width / step)];
  const across = made(height, columns, (i, j) => {
    let sum = 0;
    for (let k = -reach; k <= reach; k += 1) sum += row[k + reach] * data[i * width + held(j * step + k, width)];
    return sum;
  });
  return made(rows, columns, (i, j) => {
    let sum = 0;
    for (let k = -reach; k <= reach; k += 1)
      sum += row[k + reach] * across.data[held(i * step + k, height) * columns + j];
    return sum;
  });
}

const halved = (map) => smoothed(map, ROW, 2);

function pyramid(map, count) {
  const levels = [map];
  while (levels.length < count) levels.push(halved(levels.at(-1)));
  return levels;
}

/** The pairs of levels that a picture of this size has, and the level that all maps are brought to. */
export function scales(height, width) {
  const last = Math.floor(Math.log2(Math.min(height, width)));
  const down = Math.max(8 - last, 0);
  const centres = [2, 3, 4].filter((centre) => centre >= down).map((centre) => centre - down);
  if (!centres.length) centres.push(0);
  const pairs = centres
    .flatMap((centre) => [3, 4].map((step) => [centre, centre + step]))
    .filter(([, to]) => to <= last);
  return { pairs, level: Math.max(0, ...pairs.map(([centre]) => centre)) };
}

/** A map of a level at the size of the picture or of a finer level, bilinear, pixel 0 on pixel 0. */
export function enlarged({ height, width, data }, level, rows, columns) {
  const along = (size, count) =>
    Array.from({ length: count }, (_, i) => {
      const before = Math.min(Math.floor(i / 2 ** level), size - 1);
      return [before, Math.min(before + 1, size - 1), Math.min(i / 2 ** level - before, 1)];
    });
  const [downs, acrosses] = [along(height, rows), along(width, columns)];
  return made(rows, columns, (i, j) => {
    const [up, low, down] = downs[i];
    const [left, right, share] = acrosses[j];
    const of = (column) => data[up * width + column] * (1 - down) + data[low * width + column] * down;
    return of(left) * (1 - share) + of(right) * share;
  });
}

/** The operator N: a map from 0 to 1, times the square of how far its other peaks stay below the highest. */
export function normalise(map) {
  const { height, width, data } = map;
  let [low, high] = [Infinity, -Infinity];
  for (const value of data) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === high) return each(map, () => 0);
  const scaled = each(map, (value) => (value - low) / (high - low));
  const peak = (i, j, value) => {
    for (let k = 0; k < 9; k += 1) {
      const [row, column] = [i + Math.floor(k / 3) - 1, j + (k % 3) - 1];
      if (k === 4 || row < 0 || column < 0 || row >= height || column >= width) continue;
      const other = scaled.data[row * width + column];
      if (k < 4 ? other >= value : other > value) return false; // of equal ones the first counts
    }
    return true;
  };
  let [count, sum] = [0, 0];
  for (let i = 0, k = 0; i < height; i += 1) {
    for (let j = 0; j < width; j += 1, k += 1) {
      const value = scaled.data[k];
      if (value <= 0.1 || !peak(i, j, value)) continue;
      count += 1;
      sum += value;
    }
  }
  const factor = (1 - (count > 1 ? (sum - 1) / (count - 1) : 0)) ** 2;
  return each(scaled, (value) => factor * value);
}

/** Red less green and blue less yellow, where it is bright enough to tell; and the intensity. */
function planes({ height, width, rgb }) {
  const of = (k) => [rgb[3 * k] / 255, rgb[3 * k + 1] / 255, rgb[3 * k + 2] / 255];
  const intensity = made(height, width, (i, j, k) => (of(k)[0] + of(k)[1] + of(k)[2]) / 3);
  const dark = 0.1 * intensity.data.reduce((most, value) => Math.max(most, value), 0);
  const pure = (x) => Math.max(x, 0);
  const opponent = (between) =>
    each(intensity, (light, k) => (light > dark ? between(...of(k).map((part) => part / light)) : 0));
  const redGreen = opponent((r, g, b) => pure(r - (g + b) / 2) - pure(g - (r + b) / 2));
  const yellow = (r, g, b) => pure((r + g) / 2 - Math.abs(r - g) / 2 - b);
  const blueYellow = opponent((r, g, b) => pure(b - (r + g) / 2) - yellow(r, g, b));
  return { intensity, redGreen, blueYellow };
}

/** For each of four angles a cosine and a sine in a round Gaussian, blind to a constant and of length 1. */
const GABORS = [0, 45, 90, 135].map((degrees) =>
  [Math.cos, Math.sin].map((wave) => {
    const angle = (degrees * Math.PI) / 180;
    const all = made(SIZE, SIZE, (i, j) => Math.exp(-((i - 4) ** 2 + (j - 4) ** 2) / (2 * (WAVE / 3) ** 2))).data;
    const off = (k) => ((k % SIZE) - 4) * Math.sin(angle) + (Math.floor(k / SIZE) - 4) * Math.cos(angle);
    const found = all.map((part, k) => part * wave((2 * Math.PI * off(k)) / WAVE));
    const total = (row) => row.reduce((sum, part) => sum + part, 0);
    const [mean, whole] = [total(found), total(all)];
    const blind = found.map((part, k) => part - (all[k] * mean) / whole);
    const length = Math.sqrt(total(blind.map((part) => part * part)));
    return blind.map((part) => part / length);
  }),
);

/** How much each place looks like a bar or an edge at one of the angles. */
function oriented({ height, width, data }, waves) {
  return made(height, width, (i, j) => {
    let [even, odd] = [0, 0];
    for (let k = 0, down = -4; down <= 4; down += 1) {
      const row = held(i + down, height) * width;
      for (let across = -4; across <= 4; across += 1, k += 1) {
        const value = data[row + held(j + across, width)];
        even += waves[0][k] * value;
        odd += waves[1][k] * value;
      }
    }
    return Math.sqrt(even * even + odd * odd);
  });
}

/** The sum of the normalised differences of all pairs of levels. */
function together(levels, { pairs, level }) {
  let total = each(levels[level], () => 0);
  for (const [centre, surround] of pairs) {
    const { height, width } = levels[centre];
    const coarse = enlarged(levels[surround], surround - centre, height, width);
    const differ = each(levels[centre], (value, k) => Math.abs(value - coarse.data[k]));
    let found = normalise(each(differ, (value) => (value > THRESHOLD ? value : 0)));
    for (let n = centre; n < level; n += 1) found = halved(found);
    total = weighted([total, found], [1, 1]);
  }
  return total;
}

/** What of centre and surround does not depend on weights: the maps of a picture's features. */
export function features(picture) {
  const at = scales(picture.height, picture.width);
  const count = 1 + Math.max(at.level, ...at.pairs.map(([, surround]) => surround));
  const { intensity, redGreen, blueYellow } = planes(picture);
  const levels = pyramid(intensity, count);
  return {
    level: at.level,
    intensity: normalise(together(levels, at)),
    colours: [redGreen, blueYellow].map((map) => together(pyramid(map, count), at)),
    angles: GABORS.map((waves) =>
      normalise(
        together(
          levels.map((map) => oriented(map, waves)),
          at,
        ),
      ),
    ),
  };
}

/** Itti, Koch and Niebur: `weights` of intensity, colour and orientation, `gains` of two colours and four angles. */
export function centreSurround({ level, intensity, colours, angles }, { weights, gains }) {
  const colour = normalise(weighted(colours, gains.slice(0, 2)));
  const parts = [intensity, colour, normalise(weighted(angles, gains.slice(2)))];
  return { level, parts, saliency: weighted(parts, weights) };
}

/** Lightness, green to red and blue to yellow, each from 0 to 1: CIE L*a*b* of sRGB. */
export function lab({ height, width, rgb }) {
  const matrix = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.072175],
    [0.0193339, 0.119192, 0.9503041],
  ].map((row) => row.map((part) => part / (row[0] + row[1] + row[2])));
  const root = (t) => (t > (6 / 29) ** 3 ? t ** (1 / 3) : t / (3 * (6 / 29) ** 2) + 4 / 29);
  const linear = (byte) => (byte / 255 > 0.04045 ? ((byte / 255 + 0.055) / 1.055) ** 2.4 : byte / 255 / 12.92);
  const table = Array.from({ length: 256 }, (_, byte) => linear(byte));
  const found = [0, 1, 2].map(() => made(height, width, () => 0));
  for (let k = 0; k < height * width; k += 1) {
    const light = [table[rgb[3 * k]], table[rgb[3 * k + 1]], table[rgb[3 * k + 2]]];
    const [x, y, z] = matrix.map((row) => root(row[0] * light[0] + row[1] * light[1] + row[2] * light[2]));
    const parts = [(116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255];
    parts.forEach((part, n) => (found[n].data[k] = Math.min(Math.max(part, 0), 1)));
  }
  return found;
}

/** How seldom the value of each pixel and those around it stand together, in `bins` steps. */
export function coOccurrence({ height, width, data }, { bins, radius }) {
  const values = Int32Array.from(data, (value) => Math.min(Math.floor(value * bins), bins - 1));
  const around = (i, j, visit) => {
    for (let row = Math.max(i - radius, 0); row <= Math.min(i + radius, height - 1); row += 1)
      for (let column = Math.max(j - radius, 0); column <= Math.min(j + radius, width - 1); column += 1)
        visit(values[i * width + j] * bins + values[row * width + column]);
  };
  const counts = new Float64Array(bins * bins);
  made(height, width, (i, j) => around(i, j, (pair) => (counts[pair] += 1)) ?? 0);
  let [total, kinds] = [0, 0];
  for (const count of counts) {
    total += count;
    if (count) kinds += 1;
  }
  const inverted = counts.map((count) => (count ? Math.max(1 / kinds - count / total, 0) : 0));
  return made(height, width, (i, j) => {
    let [sum, number] = [0, 0];
    around(i, j, (pair) => {
      sum += inverted[pair];
      number += 1;
    });
    return sum / number;
  });
}

/** Smoothed with a Gaussian, cut off at three of its width. */
export function blurred(map, sigma) {
  const reach = Math.ceil(3 * sigma);
  const row = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * sigma ** 2)));
  const sum = row.reduce((total, part) => total + part, 0);
  return smoothed(
    map,
    row.map((part) => part / sum),
  );
}

/** What of co-occurrence does not depend on weights: the smoothed maps of lightness and of both colours. */
export function rarities(picture, { bins, radius, sigma }) {
  return lab(picture).map((channel) => blurred(coOccurrence(channel, { bins, radius }), sigma));
}

/** Lu and Lim: the maps of the channels, `weights` of lightness and colour, `gains` of the two colours. */
export function rarity([light, ...colours], { weights, gains }) {
  const colour = weighted(colours, gains.slice(0, 2));
  const parts = [light, colour, each(light, () => 0)];
  return { level: 0, parts, saliency: weighted(parts, weights) };
}

/** The most salient place, then the next outside of the discs around those before; it ends where nothing is left. */
export function scanPath({ height, width, data }, count, radius) {
  const left = Float64Array.from(data);
  const most = Math.fround(radius * radius); // as torch compares whole numbers with a broken one
  const found = [];
  while (found.length < count) {
    let best = 0;
    for (let k = 1; k < left.length; k += 1) if (left[k] > left[best]) best = k;
    const strength = left[best];
    if (!(strength > 0)) break;
    const [row, column] = [Math.floor(best / width), best % width];
    found.push({ row, column, strength });
    for (let i = 0, k = 0; i < height; i += 1)
      for (let j = 0; j < width; j += 1, k += 1) if ((i - row) ** 2 + (j - column) ** 2 <= most) left[k] = 0;
  }
  return found;
}
