// Vectors and matrices as arrays of floats. A field has thousands of keys and a frame 16 ms: what runs once a key loops
// and allocates nothing.

export function dotted(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

export const applied = (matrix, vector) => matrix.map((row) => dotted(row, vector));
export const norm = (vector) => Math.sqrt(dotted(vector, vector));

export function logistic(x) {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}
