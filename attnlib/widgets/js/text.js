// Numbers as text.

/** A number with a true minus sign, "−∞" and "undefined" for what is no number. */
export function number(value, digits = 2) {
  if (Number.isNaN(value)) return "undefined";
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

export const pair = (point, digits = 2) => `(${point.map((value) => number(value, digits)).join(", ")})`;

/** A weight: an exact nought is told apart from what rounds to it. */
export const share = (weight) => (weight === 0 ? "0" : weight < 5e-4 ? "< 0.0005" : number(weight, 3));
