// Products of small matrices whose right side is as wide as two registers, and exponentials: what kernels share.
#pragma once

#include <ATen/cpu/vec/vec.h>
#include <c10/macros/Macros.h>

#include <bit>
#include <cstdint>

namespace {

using V = at::vec::Vectorized<float>;
using Integers = at::vec::Vectorized<int32_t>;
constexpr int64_t WIDE = V::size(), LANES = 2 * WIDE;
constexpr int ROWS = 6;

// A matrix by its first number and the steps to the next row and column.
struct Left {
  const float* at;
  int64_t row, column;
};

// The sums of N rows, each two registers wide. Not an array, which compilers leave in memory.
template <int N>
struct Sums {
  V one, other;
  Sums<N - 1> rest;

  C10_ALWAYS_INLINE void load(const float* from, int64_t row) {
    one = V::loadu(from);
    other = V::loadu(from + WIDE);
    rest.load(from + row, row);
  }
  C10_ALWAYS_INLINE void add(const float* left, int64_t row, const V& a, const V& b) {
    const V x(*left);
    one = at::vec::fmadd(x, a, one);
    other = at::vec::fmadd(x, b, other);
    rest.add(left + row, row, a, b);
  }
  C10_ALWAYS_INLINE void store(float* to, int64_t row) const {
    one.store(to);
    other.store(to + WIDE);
    rest.store(to + row, row);
  }
};

template <>
struct Sums<0> {
  C10_ALWAYS_INLINE void load(const float*, int64_t) {}
  C10_ALWAYS_INLINE void add(const float*, int64_t, const V&, const V&) {}
  C10_ALWAYS_INLINE void store(float*, int64_t) const {}
};

// out[n][lane] (+)= sum over w of left[n][w] right[w][lane], for N rows.
template <int N>
void tile(Left left, const float* right, int64_t right_row, int64_t size, float* out, int64_t out_row, bool adds) {
  Sums<N> sums{};
  if (adds) sums.load(out, out_row);
  for (int64_t w = 0; w < size; ++w) {
    const float* from = right + w * right_row;
    sums.add(left.at + w * left.column, left.row, V::loadu(from), V::loadu(from + WIDE));
  }
  sums.store(out, out_row);
}

// The same for any number of rows.
void multiply(int64_t rows, Left left, const float* right, int64_t right_row, int64_t size, float* out, int64_t out_row, bool adds) {
  for (; rows >= ROWS; rows -= ROWS) {
    tile<ROWS>(left, right, right_row, size, out, out_row, adds);
    left.at += ROWS * left.row;
    out += ROWS * out_row;
  }
  switch (rows) {
    case 5: return tile<5>(left, right, right_row, size, out, out_row, adds);
    case 4: return tile<4>(left, right, right_row, size, out, out_row, adds);
    case 3: return tile<3>(left, right, right_row, size, out, out_row, adds);
    case 2: return tile<2>(left, right, right_row, size, out, out_row, adds);
    case 1: return tile<1>(left, right, right_row, size, out, out_row, adds);
  }
}

// e^x for x up to 0, to about a unit in the last place; 0 where that is below all normal numbers; NaN for NaN.
inline V exponential(const V& x) {
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to a whole number
  const V held = at::vec::maximum(x, V(-1000.0f));
  const V shifted = at::vec::fmadd(held, V(1.44269504f), V(ROUND)), whole = shifted - V(ROUND);
  const V rest = at::vec::fmadd(whole, V(2.12194440e-4f), at::vec::fmadd(whole, V(-0.693359375f), held));
  V power(1.9875691500e-4f);
  for (float each : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    power = at::vec::fmadd(power, rest, V(each));
  power = at::vec::fmadd(power, rest * rest, rest + V(1.0f));
  const Integers exponent = at::vec::cast<int32_t>(shifted) + Integers(127 - std::bit_cast<int32_t>(ROUND));
  return power * at::vec::cast<float>(at::vec::maximum(exponent, Integers(0)) << Integers(23));
}

}  // namespace
