// The parameters of a module as packed_state.py packs them: matrices of one byte a number and a scale a row, vectors in
// single precision.

function bytes(text) {
  const letters = atob(text);
  const found = new Uint8Array(letters.length);
  for (let i = 0; i < found.length; i += 1) found[i] = letters.charCodeAt(i);
  return found.buffer;
}

/** By name: a matrix as a list of rows, a vector as one. */
export function unpacked({ matrices, vectors, whole, real }) {
  const [small, floats] = [new Int8Array(bytes(whole)), new DataView(bytes(real))];
  const found = {};
  let [at, next] = [0, 0];
  const number = () => floats.getFloat32(4 * next++, true);
  for (const [name, rows, columns] of matrices) {
    found[name] = Array.from({ length: rows }, () => {
      const [scale, row] = [number(), new Float64Array(columns)];
      for (let i = 0; i < columns; i += 1) row[i] = scale * small[at++];
      return row;
    });
  }
  for (const [name, size] of vectors) found[name] = Float64Array.from({ length: size }, number);
  return found;
}
