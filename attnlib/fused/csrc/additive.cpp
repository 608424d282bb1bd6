// Sums v . tanh(q + k) of all pairs of a query and a key, and their gradients, without a tensor of all hidden units.
//
// Keys stand in blocks of BLOCK, features outside, so that a register holds some keys of one feature. Each tile of a few
// queries and a block of keys takes the cheapest form that its numbers allow:
//   exponential  tanh(q + k) = 1 - 2 / (1 + e^2q e^2k), from tables of e^2q and e^2k, up to four quotients in one division
//   ratio        tanh(q + k) = (a + b) / (1 + a b), from tables of a = tanh q and b = tanh k, where all are small:
//                the first form would lose what is small beside 1
//   plain        tanh, where the exponentials overflow

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <type_traits>
#include <vector>

namespace {

using at::Tensor;
constexpr int64_t BLOCK = 16;  // keys
constexpr int ROWS = 4;        // queries of a tile
// The largest |q| + |k| for which products of 4, 2 and 1 of the numbers 1 + e^2(q + k) are finite in single precision;
// for one of them, also e^2q and e^2k must be, which are up to e^88.
constexpr double FOUR = 10.5, TWO = 21.0, ONE = 43.0;

template <typename T>
using Vec = at::vec::Vectorized<T>;

// Where the numbers of one call stand.
template <typename T>
struct Sums {
  const T *query, *query_table, *query_top;  // (batch, query, size) twice, (batch, query)
  const T *key, *key_table, *key_top;        // (batch, block, size, BLOCK) twice, (batch, block)
  const T* vector;
  int64_t batch, n_query, n_key, blocks, size;
  bool is_ratio;

  Sums(const Tensor& q, const Tensor& q_table, const Tensor& q_top, const Tensor& k, const Tensor& k_table,
       const Tensor& k_top, const Tensor& v, int64_t n_key, bool is_ratio)
      : query(q.const_data_ptr<T>()), query_table(q_table.const_data_ptr<T>()), query_top(q_top.const_data_ptr<T>()),
        key(k.const_data_ptr<T>()), key_table(k_table.const_data_ptr<T>()), key_top(k_top.const_data_ptr<T>()),
        vector(v.const_data_ptr<T>()), batch(q.size(0)), n_query(q.size(1)), n_key(n_key), blocks(k.size(1)),
        size(q.size(2)), is_ratio(is_ratio) {}
};

// A quotient that is still to be divided.
template <typename V>
struct Quotient {
  V above, below;
};

template <typename V>
inline Quotient<V> operator+(const Quotient<V>& one, const Quotient<V>& other) {
  return {at::vec::fmadd(one.above, other.below, other.above * one.below), one.below * other.below};
}

enum Form { RATIO, EXPONENTIAL, PLAIN };

// The sums of N queries with a block of keys: with GROUP quotients in a division.
template <typename T, Form FORM, int GROUP, int N>
inline void tile_sums(const T* const* query, const T* key, const T* vector, int64_t size, Vec<T> (*sums)[BLOCK / Vec<T>::size()]) {
  using V = Vec<T>;
  constexpr int WIDE = BLOCK / V::size();
  const V one(T(1));
  for (int n = 0; n < N; ++n)
    for (int j = 0; j < WIDE; ++j) sums[n][j] = V(T(0));
  auto quotient = [&](int64_t w, int n, int j) -> Quotient<V> {
    V q(query[n][w]), v(vector[w]), k = V::loadu(key + w * BLOCK + j * V::size());
    if constexpr (FORM == RATIO) return {v * (q + k), at::vec::fmadd(q, k, one)};
    return {v, at::vec::fmadd(q, k, one)};
  };
  int64_t w = 0;
  if constexpr (FORM != PLAIN) {
    for (; w + GROUP <= size; w += GROUP)
      for (int n = 0; n < N; ++n)
        for (int j = 0; j < WIDE; ++j) {
          Quotient<V> all = quotient(w, n, j);
          if constexpr (GROUP == 2) all = all + quotient(w + 1, n, j);
          if constexpr (GROUP == 4)
            all = (all + quotient(w + 1, n, j)) + (quotient(w + 2, n, j) + quotient(w + 3, n, j));
          sums[n][j] = sums[n][j] + all.above / all.below;
        }
  }
  for (; w < size; ++w)
    for (int n = 0; n < N; ++n)
      for (int j = 0; j < WIDE; ++j) {
        if constexpr (FORM == PLAIN) {
          V k = V::loadu(key + w * BLOCK + j * V::size());
          sums[n][j] = at::vec::fmadd(V(vector[w]), (V(query[n][w]) + k).tanh(), sums[n][j]);
        } else {
          Quotient<V> all = quotient(w, n, j);
          sums[n][j] = sums[n][j] + all.above / all.below;
        }
      }
  if constexpr (FORM == EXPONENTIAL) {
    T total = 0;
    for (int64_t i = 0; i < size; ++i) total += vector[i];
    for (int n = 0; n < N; ++n)
      for (int j = 0; j < WIDE; ++j) sums[n][j] = at::vec::fmadd(V(T(-2)), sums[n][j], V(total));
  }
}

template <typename T, int N>
void energies_tile(const Sums<T>& s, int64_t b, int64_t i, int64_t block, T* energies) {
  using V = Vec<T>;
  constexpr int WIDE = BLOCK / V::size();
  V sums[N][WIDE];
  const T *raw[N], *table[N];
  T top = 0;
  for (int n = 0; n < N; ++n) {
    raw[n] = s.query + (b * s.n_query + i + n) * s.size;
    table[n] = s.query_table + (b * s.n_query + i + n) * s.size;
    top = std::max(top, s.query_top[b * s.n_query + i + n]);
  }
  const int64_t start = (b * s.blocks + block) * s.size * BLOCK;
  top += s.key_top[b * s.blocks + block];
  if (s.is_ratio)
    tile_sums<T, RATIO, 4, N>(table, s.key_table + start, s.vector, s.size, sums);
  else if (top <= FOUR)
    tile_sums<T, EXPONENTIAL, 4, N>(table, s.key_table + start, s.vector, s.size, sums);
  else if (top <= TWO)
    tile_sums<T, EXPONENTIAL, 2, N>(table, s.key_table + start, s.vector, s.size, sums);
  else if (top <= ONE)
    tile_sums<T, EXPONENTIAL, 1, N>(table, s.key_table + start, s.vector, s.size, sums);
  else
    tile_sums<T, PLAIN, 1, N>(raw, s.key + start, s.vector, s.size, sums);
  const int64_t left = std::min(BLOCK, s.n_key - block * BLOCK);
  for (int n = 0; n < N; ++n)
    for (int j = 0; j < WIDE; ++j) {
      const int64_t count = std::min<int64_t>(V::size(), left - j * V::size());
      if (count > 0) sums[n][j].store(energies + ((b * s.n_query + i + n) * s.n_key + block * BLOCK + j * V::size()), count);
    }
}

template <typename T>
Tensor energies_of(const Sums<T>& s, const Tensor& like) {
  Tensor energies = at::empty({s.batch, s.n_query, s.n_key}, like.options());
  T* out = energies.data_ptr<T>();
  const int64_t blocks = (s.n_key + BLOCK - 1) / BLOCK, groups = (s.n_query + ROWS - 1) / ROWS;
  at::parallel_for(0, s.batch * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t b = at / groups, i = at % groups * ROWS;
      for (int64_t block = 0; block < blocks; ++block) {
        if (i + ROWS <= s.n_query)
          energies_tile<T, ROWS>(s, b, i, block, out);
        else
          for (int64_t row = i; row < s.n_query; ++row) energies_tile<T, 1>(s, b, row, block, out);
      }
    }
  });
  return energies;
}

// tanh(q + k) of one feature, of N queries with one register of keys; in the exponential form a division for two queries.
template <typename T, Form FORM, bool IS_PAIRED, int N>
inline void units(const T* const* query, int64_t w, const Vec<T>& key, Vec<T>* found) {
  using V = Vec<T>;
  const V one(T(1)), two(T(2));
  V below[N];
  for (int n = 0; n < N; ++n) {
    const V q(query[n][w]);
    if constexpr (FORM == PLAIN) {
      found[n] = (q + key).tanh();
    } else {
      below[n] = at::vec::fmadd(q, key, one);
      found[n] = FORM == RATIO ? q + key : two;
    }
  }
  if constexpr (FORM == PLAIN) return;
  if constexpr (IS_PAIRED && N % 2 == 0) {
    for (int n = 0; n < N; n += 2) {
      const V inverse = one / (below[n] * below[n + 1]);
      found[n] = found[n] * (inverse * below[n + 1]);
      found[n + 1] = found[n + 1] * (inverse * below[n]);
    }
  } else {
    for (int n = 0; n < N; ++n) found[n] = found[n] / below[n];
  }
  if constexpr (FORM == EXPONENTIAL)
    for (int n = 0; n < N; ++n) found[n] = one - found[n];
}

// What a tile adds to the gradients; those of query and vector have a register for each number, summed at the end.
template <typename T, Form FORM, bool IS_PAIRED, int N>
inline void tile_gradients(const T* const* query, const T* key, int64_t size, const T (*grad)[BLOCK], T* const* grad_query,
                           T* grad_key, T* grad_vector) {
  using V = Vec<T>;
  constexpr int WIDE = BLOCK / V::size();
  const V one(T(1));
  V given[N][WIDE];
  for (int n = 0; n < N; ++n)
    for (int j = 0; j < WIDE; ++j) given[n][j] = V::loadu(grad[n] + j * V::size());
  for (int64_t w = 0; w < size; ++w) {
    V for_query[N], for_vector = V::loadu(grad_vector + w * V::size());
    for (int n = 0; n < N; ++n) for_query[n] = V::loadu(grad_query[n] + w * V::size());
    for (int j = 0; j < WIDE; ++j) {
      const V k = V::loadu(key + w * BLOCK + j * V::size());
      V for_key = V::loadu(grad_key + w * BLOCK + j * V::size());
      V found[N];
      units<T, FORM, IS_PAIRED, N>(query, w, k, found);
      for (int n = 0; n < N; ++n) {
        const V share = given[n][j] * found[n];
        const V slope = at::vec::fnmadd(share, found[n], given[n][j]);
        for_vector = for_vector + share;
        for_query[n] = for_query[n] + slope;
        for_key = for_key + slope;
      }
      for_key.store(grad_key + w * BLOCK + j * V::size());
    }
    for (int n = 0; n < N; ++n) for_query[n].store(grad_query[n] + w * V::size());
    for_vector.store(grad_vector + w * V::size());
  }
}

template <typename T, int N>
void gradients_tile(const Sums<T>& s, const T* grad_energies, int64_t b, int64_t i, int64_t block, T* grad_query,
                    T* grad_key, T* grad_vector) {
  T given[N][BLOCK] = {};
  const T *raw[N], *table[N];
  T* for_query[N];
  T top = 0;
  const int64_t count = std::min(BLOCK, s.n_key - block * BLOCK);
  for (int n = 0; n < N; ++n) {
    const int64_t row = b * s.n_query + i + n;
    const T* from = grad_energies + row * s.n_key + block * BLOCK;
    std::copy(from, from + count, given[n]);
    raw[n] = s.query + row * s.size;
    table[n] = s.query_table + row * s.size;
    for_query[n] = grad_query + n * s.size * Vec<T>::size();
    top = std::max(top, s.query_top[row]);
  }
  const int64_t start = (b * s.blocks + block) * s.size * BLOCK;
  top += s.key_top[b * s.blocks + block];
  if (s.is_ratio)
    tile_gradients<T, RATIO, true, N>(table, s.key_table + start, s.size, given, for_query, grad_key + start, grad_vector);
  else if (top <= TWO)
    tile_gradients<T, EXPONENTIAL, true, N>(table, s.key_table + start, s.size, given, for_query, grad_key + start, grad_vector);
  else if (top <= ONE)
    tile_gradients<T, EXPONENTIAL, false, N>(table, s.key_table + start, s.size, given, for_query, grad_key + start, grad_vector);
  else
    tile_gradients<T, PLAIN, false, N>(raw, s.key + start, s.size, given, for_query, grad_key + start, grad_vector);
}

// Adds to the keys' gradient, and returns those of the queries and of the vector, the latter for each part of the work.
// A part has keys of its own, so that no two threads write to one place: items of the batch, or else ranges of keys.
template <typename T>
std::tuple<Tensor, Tensor> gradients_of(const Sums<T>& s, const Tensor& grad_energies, Tensor& grad_key) {
  const int64_t blocks = (s.n_key + BLOCK - 1) / BLOCK, lanes = Vec<T>::size();
  const int64_t ranges = s.batch >= at::get_num_threads() ? 1 : std::min<int64_t>(blocks, at::get_num_threads());
  Tensor grad_query = at::zeros({ranges, s.batch, s.n_query, s.size}, grad_energies.options());
  Tensor grad_vector = at::zeros({ranges * s.batch, s.size}, grad_energies.options());
  const T* given = grad_energies.const_data_ptr<T>();
  T *query_out = grad_query.data_ptr<T>(), *key_out = grad_key.data_ptr<T>(), *vector_out = grad_vector.data_ptr<T>();
  at::parallel_for(0, ranges * s.batch, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> for_query(ROWS * s.size * lanes), for_vector(s.size * lanes);
    auto sum = [&](const T* from, T* to) {
      for (int64_t w = 0; w < s.size; ++w)
        for (int64_t lane = 0; lane < lanes; ++lane) to[w] += from[w * lanes + lane];
    };
    for (int64_t part = begin; part < end; ++part) {
      const int64_t b = part / ranges, range = part % ranges;
      const int64_t first = blocks * range / ranges, last = blocks * (range + 1) / ranges;
      for (int64_t i = 0; i < s.n_query;) {
        const int64_t rows = i + ROWS <= s.n_query ? ROWS : 1;
        std::fill(for_query.begin(), for_query.end(), T(0));
        std::fill(for_vector.begin(), for_vector.end(), T(0));
        for (int64_t block = first; block < last; ++block) {
          if (rows == ROWS)
            gradients_tile<T, ROWS>(s, given, b, i, block, for_query.data(), key_out, for_vector.data());
          else
            gradients_tile<T, 1>(s, given, b, i, block, for_query.data(), key_out, for_vector.data());
        }
        for (int64_t n = 0; n < rows; ++n)
          sum(for_query.data() + n * s.size * lanes, query_out + ((range * s.batch + b) * s.n_query + i + n) * s.size);
        sum(for_vector.data(), vector_out + part * s.size);
        i += rows;
      }
    }
  });
  return {ranges == 1 ? grad_query[0] : grad_query.sum(0), grad_vector.sum(0)};
}

Tensor energies(const Tensor& query, const Tensor& query_table, const Tensor& query_top, const Tensor& key,
                const Tensor& key_table, const Tensor& key_top, const Tensor& vector, int64_t n_key, bool is_ratio) {
  Tensor found;
  AT_DISPATCH_FLOATING_TYPES(query.scalar_type(), "attnlib_additive", [&] {
    Sums<scalar_t> sums(query, query_table, query_top, key, key_table, key_top, vector, n_key, is_ratio);
    found = energies_of(sums, query);
  });
  return found;
}

std::tuple<Tensor, Tensor> gradients(const Tensor& grad_energies, const Tensor& query, const Tensor& query_table,
                                     const Tensor& query_top, const Tensor& key, const Tensor& key_table,
                                     const Tensor& key_top, const Tensor& vector, bool is_ratio, Tensor grad_key) {
  std::tuple<Tensor, Tensor> found;
  AT_DISPATCH_FLOATING_TYPES(query.scalar_type(), "attnlib_additive", [&] {
    Sums<scalar_t> sums(query, query_table, query_top, key, key_table, key_top, vector, grad_energies.size(2), is_ratio);
    found = gradients_of(sums, grad_energies, grad_key);
  });
  return found;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def(
      "additive_kernel(Tensor query, Tensor query_table, Tensor query_top, Tensor key, Tensor key_table, Tensor key_top, "
      "Tensor vector, int n_key, bool is_ratio) -> Tensor");
  m.def(
      "additive_kernel_backward(Tensor grad_energies, Tensor query, Tensor query_table, Tensor query_top, Tensor key, "
      "Tensor key_table, Tensor key_top, Tensor vector, bool is_ratio, Tensor(a!) grad_key) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("additive_kernel", TORCH_FN(energies));
  m.impl("additive_kernel_backward", TORCH_FN(gradients));
}
