// Attention with a weight for each feature, energies c tanh((q + k) / c), and its gradients, without weights in memory.
//
// With r = 1 / (1 + e^(2 q / c) e^(2 k / c)) an energy less the limit is -2 c r, so that a weight needs one division and
// one exponential, and no maximum is taken off. A part of the work is one sequence, without its padding, and as many
// features as a register holds: these are packed, so that queries and keys run through memory in order. Parts share
// nothing. Where the exponentials could overflow, r = (1 - tanh) / 2 itself.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using at::Tensor;
template <typename T>
using Vec = at::vec::Vectorized<T>;
constexpr int ROWS = 4;         // queries of a tile
constexpr int64_t KEYS = 128;   // so many are summed by themselves: sums of sums keep more digits
constexpr double REACH = 16.0;  // vectors of up to so many times the limit: their exponentials keep their digits

struct Work {
  int64_t batch, n, d;
  bool before, after;
  double limit;
  const bool* real;  // (batch, n); null where there is no padding

  Work(const Tensor& value, const Tensor& real, const std::string& direction, double limit)
      : batch(value.size(0)), n(value.size(1)), d(value.size(2)), before(direction != "backward"),
        after(direction != "forward"), limit(limit), real(real.defined() ? real.const_data_ptr<bool>() : nullptr) {}
};

// A register's features of one sequence, without what is no real token.
template <typename T>
struct Part {
  using V = Vec<T>;
  static constexpr int64_t WIDE = V::size();
  int64_t start, count, step;  // the first number, how many features there are, and the way to the next token
  std::vector<int64_t> tokens;

  Part(const Work& work, int64_t b, int64_t block)
      : start(b * work.n * work.d + block * WIDE), count(std::min(WIDE, work.d - block * WIDE)), step(work.d) {
    for (int64_t i = 0; i < work.n; ++i)
      if (work.real == nullptr || work.real[b * work.n + i]) tokens.push_back(i);
  }

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  int64_t at(int64_t i) const { return start + tokens[i] * step; }

  std::vector<T> packed(const T* from) const {
    std::vector<T> found(tokens.size() * WIDE);
    for (int64_t i = 0; i < size(); ++i) V::loadu(from + at(i), count).store(found.data() + i * WIDE);
    return found;
  }
  void unpack(const std::vector<T>& found, T times, T* to) const {
    for (int64_t i = 0; i < size(); ++i) (V::loadu(found.data() + i * WIDE) * V(times)).store(to + at(i), count);
  }
};

template <typename T>
bool within(const std::vector<T>& numbers, T top) {
  return std::all_of(numbers.begin(), numbers.end(), [top](T number) { return std::abs(number) <= top; });
}

template <typename T>
void exponentials(std::vector<T>& numbers, T times) {
  for (size_t i = 0; i < numbers.size(); i += Vec<T>::size())
    (Vec<T>::loadu(numbers.data() + i) * Vec<T>(times)).exp().store(numbers.data() + i);
}

// Queries, keys and values of a part, the former two as exponentials where these are good.
template <typename T>
struct Vectors {
  std::vector<T> query, key, value;
  bool is_quotient;

  Vectors(const Part<T>& part, const T* q, const T* k, const T* v, double limit)
      : query(part.packed(q)), key(part.packed(k)), value(part.packed(v)) {
    const T top = static_cast<T>(REACH * limit);
    is_quotient = within(query, top) && within(key, top);
    if (!is_quotient) return;
    exponentials(query, static_cast<T>(2 / limit));
    exponentials(key, static_cast<T>(2 / limit));
  }
};

// r of a query and a key.
template <bool IS_QUOTIENT, typename V>
inline V share(V query, V key, V slack) {
  if constexpr (IS_QUOTIENT) return V(1) / at::vec::fmadd(query, key, V(1));
  return (V(1) - ((query + key) / slack).tanh()) * V(0.5);
}

// What may be seen by all queries of the tile from `row` on goes through `all`, key ranges; the tile's own tokens, which
// some of them see, go through `one`, query and key.
template <typename All, typename One>
inline void visit(const Work& work, int64_t size, int64_t row, int n_rows, All all, One one) {
  auto chunks = [&](int64_t first, int64_t last) {
    for (; first < last; first += KEYS) all(first, std::min(first + KEYS, last));
  };
  if (work.before) chunks(0, row);
  if (work.after) chunks(row + n_rows, size);
  for (int n = 0; n < n_rows; ++n)
    for (int m = 0; m < n_rows; ++m)
      if (m < n ? work.before : m > n && work.after) one(n, row + m);
}

template <typename T, bool IS_QUOTIENT, int N>
inline void context_tile(const Work& work, const Part<T>& part, const Vectors<T>& vectors, int64_t row, T* context, T* total) {
  using V = Vec<T>;
  constexpr int64_t WIDE = V::size();
  const V slack(static_cast<T>(work.limit)), lowest(static_cast<T>(-2 * work.limit));
  V query[N], found[N], sums[N];
  for (int n = 0; n < N; ++n) {
    query[n] = V::loadu(vectors.query.data() + (row + n) * WIDE);
    found[n] = sums[n] = V(0);
  }
  auto add = [&](V query, int64_t j, V& found, V& sum) {
    const V weight = (lowest * share<IS_QUOTIENT>(query, V::loadu(vectors.key.data() + j * WIDE), slack)).exp_u20();
    sum = sum + weight;
    found = at::vec::fmadd(weight, V::loadu(vectors.value.data() + j * WIDE), found);
  };
  auto all = [&](int64_t first, int64_t last) {
    V some_found[N], some_sums[N];
    for (int n = 0; n < N; ++n) some_found[n] = some_sums[n] = V(0);
    for (int64_t j = first; j < last; ++j)
      for (int n = 0; n < N; ++n) add(query[n], j, some_found[n], some_sums[n]);
    for (int n = 0; n < N; ++n) {
      found[n] = found[n] + some_found[n];
      sums[n] = sums[n] + some_sums[n];
    }
  };
  visit(work, part.size(), row, N, all, [&](int n, int64_t j) { add(query[n], j, found[n], sums[n]); });
  for (int n = 0; n < N; ++n) {
    (found[n] / V::blendv(sums[n], V(1), sums[n] == V(0))).store(context + part.at(row + n), part.count);
    sums[n].store(total + part.at(row + n), part.count);
  }
}

// What a query needs for its gradient, and what is added up: in the order of packed vectors.
template <typename T>
struct Slopes {
  std::vector<T> shares, middle, query, key, value;

  Slopes(const Part<T>& part, const T* upstream, const T* context, const T* total)
      : shares(part.packed(upstream)), middle(part.packed(context)), query(shares.size()), key(shares.size()),
        value(shares.size()) {
    const std::vector<T> sums = part.packed(total);
    for (size_t i = 0; i < shares.size(); ++i)
      if (sums[i] != T(0)) shares[i] /= sums[i];
  }
};

template <typename T, bool IS_QUOTIENT, int N>
inline void gradient_tile(const Work& work, const Part<T>& part, const Vectors<T>& vectors, int64_t row, Slopes<T>& slopes) {
  using V = Vec<T>;
  constexpr int64_t WIDE = V::size();
  const V slack(static_cast<T>(work.limit)), lowest(static_cast<T>(-2 * work.limit));
  V query[N], shares[N], middle[N], found[N];
  for (int n = 0; n < N; ++n) {
    const int64_t at = (row + n) * WIDE;
    query[n] = V::loadu(vectors.query.data() + at);
    shares[n] = V::loadu(slopes.shares.data() + at);
    middle[n] = V::loadu(slopes.middle.data() + at);
    found[n] = V(0);
  }
  auto add = [&](int n, V key, V value, V& for_query, V& for_key, V& for_value) {
    const V r = share<IS_QUOTIENT>(query[n], key, slack);
    const V weight = (lowest * r).exp_u20() * shares[n];
    for_value = for_value + weight;
    const V part = weight * (value - middle[n]) * r;
    const V slope = at::vec::fnmadd(part, r, part);
    for_query = for_query + slope;
    for_key = for_key + slope;
  };
  auto all = [&](int64_t first, int64_t last) {
    V some[N];
    for (int n = 0; n < N; ++n) some[n] = V(0);
    for (int64_t j = first; j < last; ++j) {
      const V key = V::loadu(vectors.key.data() + j * WIDE), value = V::loadu(vectors.value.data() + j * WIDE);
      V for_key(0), for_value(0);
      for (int n = 0; n < N; ++n) add(n, key, value, some[n], for_key, for_value);
      (V::loadu(slopes.key.data() + j * WIDE) + for_key).store(slopes.key.data() + j * WIDE);
      (V::loadu(slopes.value.data() + j * WIDE) + for_value).store(slopes.value.data() + j * WIDE);
    }
    for (int n = 0; n < N; ++n) found[n] = found[n] + some[n];
  };
  auto one = [&](int n, int64_t j) {
    V for_key = V::loadu(slopes.key.data() + j * WIDE), for_value = V::loadu(slopes.value.data() + j * WIDE);
    add(n, V::loadu(vectors.key.data() + j * WIDE), V::loadu(vectors.value.data() + j * WIDE), found[n], for_key, for_value);
    for_key.store(slopes.key.data() + j * WIDE);
    for_value.store(slopes.value.data() + j * WIDE);
  };
  visit(work, part.size(), row, N, all, one);
  for (int n = 0; n < N; ++n) found[n].store(slopes.query.data() + (row + n) * WIDE);
}

// Each part, through `run`, which gets it and its vectors.
template <typename T, typename Run>
void parts(const Work& work, const T* query, const T* key, const T* value, Run run) {
  const int64_t blocks = (work.d + Part<T>::WIDE - 1) / Part<T>::WIDE;
  at::parallel_for(0, work.batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const Part<T> part(work, at / blocks, at % blocks);
      run(part, Vectors<T>(part, query, key, value, work.limit));
    }
  });
}

// All queries of a part, in tiles: `tile` gets the number of queries as a type, and the first.
template <typename Tile>
inline void tiles(int64_t size, Tile tile) {
  int64_t row = 0;
  for (; row + ROWS <= size; row += ROWS) tile(std::integral_constant<int, ROWS>(), row);
  for (; row < size; ++row) tile(std::integral_constant<int, 1>(), row);
}

Tensor reals(const std::optional<Tensor>& real) { return real.has_value() ? real->contiguous() : Tensor(); }

std::tuple<Tensor, Tensor> contexts(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const std::optional<Tensor>& real, std::string direction, double limit) {
  const Tensor q = query.contiguous(), k = key.contiguous(), v = value.contiguous(), is_real = reals(real);
  const Work work(v, is_real, direction, limit);
  Tensor context = at::zeros(v.sizes(), v.options()), total = at::zeros(v.sizes(), v.options());
  AT_DISPATCH_FLOATING_TYPES(v.scalar_type(), "attnlib_per_feature", [&] {
    using T = scalar_t;
    T *to = context.data_ptr<T>(), *sums = total.data_ptr<T>();
    parts(work, q.const_data_ptr<T>(), k.const_data_ptr<T>(), v.const_data_ptr<T>(),
          [&](const Part<T>& part, const Vectors<T>& vectors) {
            tiles(part.size(), [&](auto rows, int64_t row) {
              constexpr int N = decltype(rows)::value;
              if (vectors.is_quotient)
                context_tile<T, true, N>(work, part, vectors, row, to, sums);
              else
                context_tile<T, false, N>(work, part, vectors, row, to, sums);
            });
          });
  });
  return {context, total};
}

std::tuple<Tensor, Tensor, Tensor> gradients(const Tensor& upstream, const Tensor& query, const Tensor& key,
                                             const Tensor& value, const Tensor& context, const Tensor& total,
                                             const std::optional<Tensor>& real, std::string direction, double limit) {
  const Tensor q = query.contiguous(), k = key.contiguous(), v = value.contiguous(), is_real = reals(real);
  const Tensor above = upstream.contiguous(), middle = context.contiguous(), sums = total.contiguous();
  const Work work(v, is_real, direction, limit);
  Tensor to_query = at::zeros(v.sizes(), v.options()), to_key = at::zeros(v.sizes(), v.options()),
         to_value = at::zeros(v.sizes(), v.options());
  AT_DISPATCH_FLOATING_TYPES(v.scalar_type(), "attnlib_per_feature", [&] {
    using T = scalar_t;
    const T *given = above.const_data_ptr<T>(), *c = middle.const_data_ptr<T>(), *s = sums.const_data_ptr<T>();
    T *for_query = to_query.data_ptr<T>(), *for_key = to_key.data_ptr<T>(), *for_value = to_value.data_ptr<T>();
    parts(work, q.const_data_ptr<T>(), k.const_data_ptr<T>(), v.const_data_ptr<T>(),
          [&](const Part<T>& part, const Vectors<T>& vectors) {
            Slopes<T> slopes(part, given, c, s);
            tiles(part.size(), [&](auto rows, int64_t row) {
              constexpr int N = decltype(rows)::value;
              if (vectors.is_quotient)
                gradient_tile<T, true, N>(work, part, vectors, row, slopes);
              else
                gradient_tile<T, false, N>(work, part, vectors, row, slopes);
            });
            part.unpack(slopes.query, T(4), for_query);  // the slope of an energy is 4 r (1 - r)
            part.unpack(slopes.key, T(4), for_key);
            part.unpack(slopes.value, T(1), for_value);
          });
  });
  return {to_query, to_key, to_value};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def(
      "per_feature_kernel(Tensor query, Tensor key, Tensor value, Tensor? real, str direction, float limit) -> "
      "(Tensor, Tensor)");
  m.def(
      "per_feature_kernel_backward(Tensor upstream, Tensor query, Tensor key, Tensor value, Tensor context, Tensor total, "
      "Tensor? real, str direction, float limit) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("per_feature_kernel", TORCH_FN(contexts));
  m.impl("per_feature_kernel_backward", TORCH_FN(gradients));
}
