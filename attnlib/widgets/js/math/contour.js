// Level lines of a sampled field, for widgets that draw one.

/**
 * Iso-lines of a field sampled on a square grid, by marching squares.
 * `values[row * size + column]`; returns polylines in grid coordinates, each a flat array [x0, y0, x1, y1, ...].
 * A crossing is named by the grid edge it lies on, so that segments of neighbouring cells join by name.
 */
export function isolines(values, size, level) {
  const links = new Int32Array(4 * size * size).fill(-1); // two neighbours for each of the 2 * size * size edges
  const link = (a, b) => {
    links[links[2 * a] < 0 ? 2 * a : 2 * a + 1] = b;
    links[links[2 * b] < 0 ? 2 * b : 2 * b + 1] = a;
  };
  const seeds = [];
  for (let row = 0; row < size - 1; row++) {
    for (let column = 0; column < size - 1; column++) {
      const i = row * size + column;
      const v00 = values[i],
        v10 = values[i + 1],
        v01 = values[i + size],
        v11 = values[i + size + 1];
      const code = (v00 > level) | ((v10 > level) << 1) | ((v11 > level) << 2) | ((v01 > level) << 3);
      if (code === 0 || code === 15) continue;
      const top = 2 * i,
        left = 2 * i + 1,
        bottom = 2 * (i + size),
        right = 2 * (i + 1) + 1;
      const centreUp = (v00 + v10 + v01 + v11) / 4 > level;
      seeds.push(top, left, bottom, right);
      if (code === 5 || code === 10) {
        const cutCorner00 = (code === 5) !== centreUp; // the corners 00 and 11 are cut off from the middle
        link(top, cutCorner00 ? left : right);
        link(bottom, cutCorner00 ? right : left);
      } else if (code === 1 || code === 14) link(top, left);
      else if (code === 2 || code === 13) link(top, right);
      else if (code === 4 || code === 11) link(right, bottom);
      else if (code === 8 || code === 7) link(left, bottom);
      else if (code === 3 || code === 12) link(left, right);
      else link(top, bottom);
    }
  }
  return trace(seeds, links, (edge) => crossing(values, size, level, edge));
}

/** Where the level crosses a grid edge, by linear interpolation. */
function crossing(values, size, level, edge) {
  const i = edge >> 1;
  const column = i % size,
    row = (i - column) / size;
  const other = edge & 1 ? i + size : i + 1;
  const t = (level - values[i]) / (values[other] - values[i]);
  return edge & 1 ? [column, row + t] : [column + t, row];
}

/** Walks every chain of linked edges once: open lines from an end, then the closed ones. */
function trace(seeds, links, point) {
  const seen = new Set(),
    lines = [];
  const walk = (edge) => {
    const line = [];
    let last = -1,
      here = edge;
    while (here >= 0 && !seen.has(here)) {
      seen.add(here);
      line.push(...point(here));
      const [a, b] = [links[2 * here], links[2 * here + 1]];
      [last, here] = [here, a !== last && !seen.has(a) ? a : b];
    }
    if (here === edge && line.length > 4) line.push(line[0], line[1]);
    if (line.length > 2) lines.push(line);
  };
  const ends = seeds.filter((edge) => links[2 * edge] >= 0 && links[2 * edge + 1] < 0);
  for (const edge of [...ends, ...seeds]) if (links[2 * edge] >= 0 && !seen.has(edge)) walk(edge);
  return lines;
}

/** A step of 1, 2 or 5 times a power of ten that cuts `span` into about `count` parts. */
export function niceStep(span, count) {
  const raw = span / count,
    power = 10 ** Math.floor(Math.log10(raw)),
    lead = raw / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}
