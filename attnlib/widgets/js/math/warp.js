// Spatial transformers as in attnlib.input_features: a matrix, the places that it sends the points of a grid to, what is
// read there, and how the error changes with each place. A matrix is three rows; x and y go from -1 to 1 along each
// side. A picture is { height, width, rgb } of bytes, and so is the target, which has as many pixels as the grid points.

/** The corners of the grid as it is read, clockwise from the top left. */
export const CORNERS = [
  [-1, -1],
  [1, -1],
  [1, 1],
  [-1, 1],
];

const radians = (degrees) => (degrees * Math.PI) / 180;

/** The two directions of the grid, of length one but for shear. */
function axes({ turn, shear }) {
  const [c, s] = [Math.cos(radians(turn)), Math.sin(radians(turn))];
  return [
    [c, s],
    [shear * c - s, shear * s + c],
  ];
}

/** The map of a state: place and slant come on top of what happens about the middle. */
export function matrixOf(state) {
  const { kind, width, height, right, down } = state;
  if (kind === "attention")
    return [
      [width, 0, right],
      [0, width, down],
      [0, 0, 1],
    ];
  const [[ax, ay], [bx, by]] = axes(state);
  const [v, w] = kind === "projective" ? [state.tilt_x, state.tilt_y] : [0, 0];
  return [
    [width * ax + right * v, height * bx + right * w, right],
    [width * ay + down * v, height * by + down * w, down],
    [v, w, 1],
  ];
}

/** The state of a map, undoing `matrixOf`. */
export function stateOf([[a, b, right], [c, d, down], [v, w]], kind) {
  if (kind === "attention") return { width: a, right, down };
  const [ax, ay, bx, by] = [a - right * v, c - down * v, b - right * w, d - down * w];
  const width = Math.hypot(ax, ay);
  const angle = Math.atan2(ay, ax);
  const [along, height] = [bx * Math.cos(angle) + by * Math.sin(angle), by * Math.cos(angle) - bx * Math.sin(angle)];
  const found = { turn: (angle * 180) / Math.PI, width, height, shear: along / (height || 1), right, down };
  return kind === "affine" ? found : { ...found, tilt_x: v, tilt_y: w };
}

/** Where a point of the grid is read. */
export function moved([[a, b, e], [c, d, f], [v, w, one]], [x, y]) {
  const depth = v * x + w * y + one;
  return [(a * x + b * y + e) / depth, (c * x + d * y + f) / depth];
}

/**
 * What is read, `read` (three numbers a point, from 0 to 1), and its mean squared `error` to the target; where each point
 * lies, `places`, and the `slopes` of the error with each place: x and y, point after point.
 */
export function compare(picture, target, matrix) {
  const { height, width } = target;
  const points = height * width;
  const [read, places, slopes] = [3, 2, 2].map((each) => new Float64Array(each * points));
  const at = (row, column, channel) =>
    row < 0 || row >= picture.height || column < 0 || column >= picture.width
      ? 0
      : picture.rgb[3 * (row * picture.width + column) + channel] / 255;
  let error = 0;
  for (let n = 0; n < points; n += 1) {
    const [i, j] = [Math.floor(n / width), n % width];
    const [x, y] = moved(matrix, [(2 * j + 1) / width - 1, (2 * i + 1) / height - 1]);
    places.set([x, y], 2 * n);
    const [across, down] = [((x + 1) * picture.width - 1) / 2, ((y + 1) * picture.height - 1) / 2];
    const [column, row] = [Math.floor(across), Math.floor(down)];
    const [right, low] = [across - column, down - row];
    for (let channel = 0; channel < 3; channel += 1) {
      const [a, b] = [at(row, column, channel), at(row, column + 1, channel)];
      const [c, d] = [at(row + 1, column, channel), at(row + 1, column + 1, channel)];
      const value = (1 - low) * ((1 - right) * a + right * b) + low * ((1 - right) * c + right * d);
      const missed = value - target.rgb[3 * n + channel] / 255;
      read[3 * n + channel] = value;
      error += missed ** 2 / (3 * points);
      const part = (2 * missed) / (3 * points);
      slopes[2 * n] += part * ((1 - low) * (b - a) + low * (d - c)) * (picture.width / 2);
      slopes[2 * n + 1] += part * ((1 - right) * (c - a) + right * (d - b)) * (picture.height / 2);
    }
  }
  return { read, error, places, slopes };
}

/** The slope of the error by each entry of the matrix that the kind leaves free; elsewhere nought. */
export function gradient({ places, slopes }, { height, width }, matrix, kind) {
  const found = [0, 1, 2].map(() => [0, 0, 0]);
  for (let n = 0; n < height * width; n += 1) {
    const point = [(2 * (n % width) + 1) / width - 1, (2 * Math.floor(n / width) + 1) / height - 1, 1];
    const depth = matrix[2].reduce((sum, entry, k) => sum + entry * point[k], 0);
    const [across, down] = [slopes[2 * n] / depth, slopes[2 * n + 1] / depth];
    const far = -(across * places[2 * n] + down * places[2 * n + 1]);
    [across, down, far].forEach((slope, row) => point.forEach((value, k) => (found[row][k] += slope * value)));
  }
  const [[a, b, e], [c, d, f], [v, w]] = found;
  if (kind === "attention")
    return [
      [a + d, 0, e],
      [0, a + d, f],
      [0, 0, 0],
    ]; // one size, twice
  return [[a, b, e], [c, d, f], kind === "affine" ? [0, 0, 0] : [v, w, 0]];
}

/** A state within the bounds of its traits, each number a ten thousandth. */
function bounded(found, bounds) {
  const hold = (value, { least, most }) => Number(Math.min(Math.max(value, least), most).toFixed(4));
  return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, hold(value, bounds[name])]));
}

/** A step down the gradient, halved until the error falls: what changes of the state, or null where none helps. */
export function step(picture, target, state, bounds) {
  const matrix = matrixOf(state);
  const before = compare(picture, target, matrix);
  const slope = gradient(before, target, matrix, state.kind);
  const [[size, , across], [, , down]] = slope; // of the one size, which stands twice, and the place
  const length = Math.hypot(...(state.kind === "attention" ? [size, across, down] : slope.flat()));
  for (let reach = 0.1; length > 1e-9 && reach > 2e-4; reach /= 2) {
    const next = matrix.map((row, i) => row.map((entry, j) => entry - (reach * slope[i][j]) / length));
    const found = bounded(stateOf(next, state.kind), bounds);
    if (compare(picture, target, matrixOf({ ...state, ...found })).error < before.error) return found;
  }
  return null;
}

/** The projective map that takes the corners of the grid to four places. */
function mapTo([[x0, y0], [x1, y1], [x2, y2], [x3, y3]]) {
  const [px, py, qx, qy] = [x1 - x2, y1 - y2, x3 - x2, y3 - y2];
  const [sx, sy] = [x0 - x1 + x2 - x3, y0 - y1 + y2 - y3];
  const area = px * qy - qx * py;
  const [v, w] = [(sx * qy - qx * sy) / area, (px * sy - sx * py) / area];
  // Of the square from 0 to 1; then of the one from -1 to 1.
  const unit = [
    [x1 - x0 + v * x1, x3 - x0 + w * x3, x0],
    [y1 - y0 + v * y1, y3 - y0 + w * y3, y0],
    [v, w, 1],
  ];
  const rows = unit.map(([a, b, c]) => [a / 2, b / 2, c + a / 2 + b / 2]);
  return rows.map((row) => row.map((entry) => entry / rows[2][2]));
}

/**
 * What changes of the state when corner `n` is drawn to a place. The opposite corner stays; in the projective kind all
 * three others do, and where no such map has its numbers within bounds nothing changes.
 */
export function cornered(state, n, [x, y], bounds) {
  const corners = CORNERS.map((corner) => moved(matrixOf(state), corner));
  if (state.kind === "projective") {
    const found = stateOf(mapTo(corners.map((corner, k) => (k === n ? [x, y] : corner))), "projective");
    const within = ([name, value]) => value >= bounds[name].least && value <= bounds[name].most;
    return Object.entries(found).every(within) && found.height > 0 ? bounded(found, bounds) : {};
  }
  const [sx, sy] = CORNERS[n];
  const [fx, fy] = corners[(n + 2) % 4];
  const [dx, dy] = [(x - fx) / 2, (y - fy) / 2];
  const attention = state.kind === "attention";
  const [[ax, ay], [bx, by]] = attention
    ? [
        [1, 0],
        [0, 1],
      ]
    : axes(state);
  const area = ax * by - bx * ay;
  const [wide, tall] = [(sx * (dx * by - dy * bx)) / area, (sy * (ax * dy - ay * dx)) / area];
  const sizes = attention ? { width: (wide + tall) / 2 } : { width: wide, height: tall };
  const { width, height = width } = bounded(sizes, bounds);
  const [right, down] = [fx + sx * width * ax + sy * height * bx, fy + sx * width * ay + sy * height * by];
  return bounded({ ...(attention ? { width } : { width, height }), right, down }, bounds);
}
