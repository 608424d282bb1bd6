// The plane of three logits seen along (1, 1, 1), in true lengths: a number added to all three moves nothing.

const ANGLES = [210, 330, 90].map((degrees) => (degrees * Math.PI) / 180);
const AXES = ANGLES.map((angle) => [Math.cos(angle), Math.sin(angle)].map((part) => Math.sqrt(2 / 3) * part));

/** From three numbers to their place in the plane. */
export function flat(numbers) {
  return [0, 1].map((j) => numbers.reduce((sum, value, i) => sum + value * AXES[i][j], 0));
}

/** From a place in the plane to the three numbers there that sum to zero. */
export function lifted(place) {
  return AXES.map((axis) => axis[0] * place[0] + axis[1] * place[1]);
}
