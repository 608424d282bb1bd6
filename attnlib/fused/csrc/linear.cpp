// Causal linear attention, both passes: all keys before a query as one matrix, the state, which stays in the cache.
//
// The sequence is read in chunks. What a query sees of its own chunk is a small triangle of products, what it sees
// before it is a product with the state; then the chunk is written into the state. Going backwards the states are made
// again, and a second state is read from the end: of all queries after a key. All products are of matrices whose right
// side is as wide as the lanes: of a tile of ROWS rows all sums stay in registers. Where there are fewer sequences than
// threads, each is cut into segments, whose states are summed first.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/macros/Macros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;
template <typename T>
using Register = at::vec::Vectorized<T>;
template <typename T>
constexpr int64_t WIDE = Register<T>::size();
template <typename T>
constexpr int64_t LANES = 2 * WIDE<T>;
constexpr int ROWS = 6;
constexpr int64_t CHUNK = 64;  // a multiple of the lanes

template <typename T>
constexpr int64_t whole(int64_t size) {
  return (size + LANES<T> - 1) / LANES<T> * LANES<T>;
}

// A matrix by its first number and the steps to the next row and column.
template <typename T>
struct Left {
  const T* at;
  int64_t row, column;
};

// The sums of N rows, each two registers wide. Not an array, which compilers leave in memory.
template <typename T, int N>
struct Sums {
  Register<T> one, other;
  Sums<T, N - 1> rest;

  C10_ALWAYS_INLINE void load(const T* from, int64_t row) {
    one = Register<T>::loadu(from);
    other = Register<T>::loadu(from + WIDE<T>);
    rest.load(from + row, row);
  }
  C10_ALWAYS_INLINE void add(const T* left, int64_t row, const Register<T>& a, const Register<T>& b) {
    const Register<T> x(*left);
    one = at::vec::fmadd(x, a, one);
    other = at::vec::fmadd(x, b, other);
    rest.add(left + row, row, a, b);
  }
  C10_ALWAYS_INLINE void store(T* to, int64_t row) const {
    one.store(to);
    other.store(to + WIDE<T>);
    rest.store(to + row, row);
  }
};

template <typename T>
struct Sums<T, 0> {
  C10_ALWAYS_INLINE void load(const T*, int64_t) {}
  C10_ALWAYS_INLINE void add(const T*, int64_t, const Register<T>&, const Register<T>&) {}
  C10_ALWAYS_INLINE void store(T*, int64_t) const {}
};

// out[n][lane] (+)= sum over w of left[n][w] right[w][lane], for N rows.
template <typename T, int N>
void tile(Left<T> left, const T* right, int64_t right_row, int64_t size, T* out, int64_t out_row, bool adds) {
  Sums<T, N> sums{};
  if (adds) sums.load(out, out_row);
  for (int64_t w = 0; w < size; ++w) {
    const T* from = right + w * right_row;
    sums.add(left.at + w * left.column, left.row, Register<T>::loadu(from), Register<T>::loadu(from + WIDE<T>));
  }
  sums.store(out, out_row);
}

// The same for up to ROWS rows.
template <typename T>
void tile(int64_t rows, Left<T> left, const T* right, int64_t right_row, int64_t size, T* out, int64_t out_row, bool adds) {
  switch (rows) {
    case 6: return tile<T, 6>(left, right, right_row, size, out, out_row, adds);
    case 5: return tile<T, 5>(left, right, right_row, size, out, out_row, adds);
    case 4: return tile<T, 4>(left, right, right_row, size, out, out_row, adds);
    case 3: return tile<T, 3>(left, right, right_row, size, out, out_row, adds);
    case 2: return tile<T, 2>(left, right, right_row, size, out, out_row, adds);
    case 1: return tile<T, 1>(left, right, right_row, size, out, out_row, adds);
  }
}

// Rows that lie beside each other in memory, each with room for whole lanes.
template <typename T>
struct Matrix {
  std::vector<T> numbers;
  int64_t row = 0;

  Matrix() = default;
  Matrix(int64_t rows, int64_t columns) : numbers(rows * (whole<T>(columns) + LANES<T>)), row(whole<T>(columns) + LANES<T>) {}
  T* at(int64_t place) { return numbers.data() + place * row; }
  const T* at(int64_t place) const { return numbers.data() + place * row; }
  Left<T> left() const { return {numbers.data(), row, 1}; }
  Left<T> turned() const { return {numbers.data(), 1, row}; }
};

enum class Part { all, before, after };

// out (rows, columns) (+)= left (rows, size) right (size, columns). Of a square that is a triangle, `before` takes
// what lies up to the row, and `after` what lies from the row on.
template <typename T>
void multiply(int64_t rows, int64_t columns, int64_t size, Left<T> left, const Matrix<T>& right, Matrix<T>& out, bool adds,
              Part part = Part::all) {
  for (int64_t lane = 0; lane < columns; lane += LANES<T>)
    for (int64_t n = 0; n < rows; n += ROWS) {
      const int64_t count = std::min<int64_t>(ROWS, rows - n);
      const int64_t from = part == Part::after ? std::min(n, size) : 0;
      const int64_t to = part == Part::before ? std::min(n + count, size) : size;
      const Left<T> here{left.at + n * left.row + from * left.column, left.row, left.column};
      tile<T>(count, here, right.at(from) + lane, right.row, to - from, out.at(n) + lane, out.row, adds);
    }
}

// out (rows, columns) = left right where the column is not after the row, 0 elsewhere, as far as lanes go.
template <typename T>
void triangle(int64_t rows, int64_t columns, int64_t size, Left<T> left, const Matrix<T>& right, Matrix<T>& out) {
  for (int64_t lane = 0; lane < columns; lane += LANES<T>)
    for (int64_t n = lane / ROWS * ROWS; n < rows; n += ROWS) {
      const int64_t count = std::min<int64_t>(ROWS, rows - n);
      const Left<T> here{left.at + n * left.row, left.row, left.column};
      tile<T>(count, here, right.at(0) + lane, right.row, size, out.at(n) + lane, out.row, false);
    }
  for (int64_t n = 0; n < rows; ++n)
    std::fill(out.at(n) + std::min(n + 1, columns), out.at(n) + whole<T>(std::min(columns, n + ROWS)), T(0));
}

template <typename T>
void turn(int64_t rows, int64_t columns, const Matrix<T>& from, Matrix<T>& to) {
  constexpr int64_t SIDE = WIDE<T>;
  for (int64_t n = 0; n < rows; n += SIDE)
    for (int64_t i = 0; i < columns; i += SIDE) {
      if (n + SIDE <= rows && i + SIDE <= columns) {
        at::vec::transpose_mxn<T, SIDE, SIDE>(from.at(n) + i, from.row, to.at(i) + n, to.row);
        continue;
      }
      for (int64_t a = n; a < std::min(rows, n + SIDE); ++a)
        for (int64_t b = i; b < std::min(columns, i + SIDE); ++b) to.at(b)[a] = from.at(a)[b];
    }
}

// e^x for x up to 0, to about a unit in the last place; NaN for NaN.
inline Register<float> exponential(const Register<float>& x) {
  using V = Register<float>;
  using Integers = at::vec::Vectorized<int32_t>;
  constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to a whole number
  const V held = at::vec::maximum(x, V(-150.0f));
  const V shifted = at::vec::fmadd(held, V(1.44269504f), V(ROUND)), exponent = shifted - V(ROUND);
  const V rest = at::vec::fmadd(exponent, V(2.12194440e-4f), at::vec::fmadd(exponent, V(-0.693359375f), held));
  V power(1.9875691500e-4f);
  for (float each : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    power = at::vec::fmadd(power, rest, V(each));
  power = at::vec::fmadd(power, rest * rest, rest + V(1.0f));
  // In two steps, so that what is below all normal numbers keeps the digits that it has.
  const Integers two = at::vec::cast<int32_t>(shifted) - Integers(std::bit_cast<int32_t>(ROUND));
  const Integers normal = at::vec::maximum(two, Integers(-100));
  const V first = at::vec::cast<float>((normal + Integers(127)) << Integers(23));
  const V second = at::vec::cast<float>((two - normal + Integers(127)) << Integers(23));
  return power * first * second;
}

inline Register<double> exponential(const Register<double>& x) {
  std::array<double, WIDE<double>> found;
  x.store(found.data());
  for (double& each : found) each = std::exp(each);
  return Register<double>::loadu(found.data());
}

// The feature map: x + 1 above 0, e^x elsewhere.
template <typename T>
C10_ALWAYS_INLINE Register<T> positive(const Register<T>& x) {
  using V = Register<T>;
  return V::blendv(exponential(at::vec::minimum(x, V(0))), x + V(1), x > V(0));
}

// A tensor of vectors: where each row of the batch begins, and the steps in it.
template <typename T>
struct Vectors {
  const T* data;
  std::vector<int64_t> start;
  int64_t length, size, step, inner;

  explicit Vectors(const Tensor& tensor)
      : data(tensor.const_data_ptr<T>()), length(tensor.size(-2)), size(tensor.size(-1)), step(tensor.stride(-2)), inner(tensor.stride(-1)) {
    start = {0};
    for (int64_t axis = 0; axis < tensor.dim() - 2; ++axis) {
      std::vector<int64_t> next;
      for (int64_t from : start)
        for (int64_t i = 0; i < tensor.size(axis); ++i) next.push_back(from + i * tensor.stride(axis));
      start = std::move(next);
    }
  }

  const T* of(int64_t row, int64_t place) const { return data + start[row] + place * step; }
};

// A sum over vectors, as it is read: (d, m), and (d).
template <typename T>
struct State {
  Matrix<T> memory;
  std::vector<T> total;

  State() = default;
  State(int64_t rows, int64_t columns) : memory(rows, columns), total(whole<T>(std::max(rows, columns))) {}
  void operator+=(const State& other) {
    for (size_t i = 0; i < memory.numbers.size(); ++i) memory.numbers[i] += other.memory.numbers[i];
    for (size_t i = 0; i < total.size(); ++i) total[i] += other.total[i];
  }
};

template <typename T>
struct Attention {
  Vectors<T> query, key, value;
  std::optional<Vectors<bool>> seen;  // (rows, 1, key)
  int64_t rows, n, n_key, d, m, chunks, segments;
  bool maps;  // whether the vectors become features here

  Attention(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& seen, bool maps)
      : query(query), key(key), value(value), n(query.size(-2)), n_key(std::min(key.size(-2), n)), d(key.size(-1)), m(value.size(-1)), maps(maps) {
    for (const Tensor* each : {&query, &key, &value})
      TORCH_CHECK(each->stride(-1) == 1 || each->size(-1) == 1, "vectors must be contiguous");
    if (seen) this->seen.emplace(*seen);
    rows = this->query.start.size();
    chunks = (n + CHUNK - 1) / CHUNK;
    const int64_t threads = at::get_num_threads();
    segments = rows >= threads ? 1 : std::clamp<int64_t>((threads + rows - 1) / rows, 1, std::max<int64_t>(chunks / 4, 1));
  }

  bool hidden(int64_t row, int64_t place) const { return seen && !seen->of(row, 0)[place * seen->inner]; }
  int64_t queries(int64_t chunk) const { return std::min(CHUNK, n - chunk * CHUNK); }
  int64_t keys(int64_t chunk) const { return std::clamp<int64_t>(n_key - chunk * CHUNK, 0, CHUNK); }
  int64_t first(int64_t segment) const { return chunks * segment / segments; }
};

// The numbers of one thread.
template <typename T>
struct Room {
  Matrix<T> query, key, value, grad, across, scores, slopes, to_key, to_value;
  std::array<T, CHUNK> top, inner;
  std::array<bool, CHUNK> lost, unseen;  // queries that are not finite; keys that do not count
  int64_t spoilt;                        // the first of the keys that are seen but not finite, or CHUNK

  Room(int64_t d, int64_t m)
      : query(CHUNK, d), key(CHUNK, d), value(CHUNK, m), grad(CHUNK, m), across(std::max(d, m), std::max({CHUNK, d, m})),
        scores(CHUNK, CHUNK), slopes(CHUNK, CHUNK), to_key(CHUNK, d), to_value(CHUNK, m) {}
};

// to[i] = f(from[i]), and nothing beyond the size.
template <typename T, typename F>
C10_ALWAYS_INLINE void each(const T* from, int64_t size, T* to, const F& f) {
  int64_t i = 0;
  for (; i + WIDE<T> <= size; i += WIDE<T>) f(Register<T>::loadu(from + i), i).store(to + i);
  if (i < size) f(Register<T>::loadu(from + i, size - i), i).store(to + i, size - i);
}

template <typename T>
C10_ALWAYS_INLINE T sum(const Register<T>& x) {
  return at::vec::vec_reduce_all<T>([](Register<T> a, Register<T> b) { return a + b; }, x);
}

// Zeros, or NaN once something that is not finite was added.
template <typename T>
struct Check {
  Register<T> sum{T(0)};
  C10_ALWAYS_INLINE void operator+=(const Register<T>& x) { sum = at::vec::fmadd(x, Register<T>(0), sum); }
  bool passed() const { return ::sum<T>(sum) == T(0); }
};

template <typename T>
bool is_finite(const T* from, int64_t size) {
  return std::all_of(from, from + size, [](T x) { return std::isfinite(x); });
}

// A vector, or its features.
template <typename T>
C10_ALWAYS_INLINE void read(const T* from, int64_t size, T* to, bool maps, Check<T>& check) {
  if (maps)
    each<T>(from, size, to, [&](const Register<T>& x, int64_t) { return check += x, positive<T>(x); });
  else
    each<T>(from, size, to, [&](const Register<T>& x, int64_t) { return check += x, x; });
}

// Features of the queries of a chunk, the largest of each made 1; all of them, where it is lost.
template <typename T>
void read_queries(const Attention<T>& a, int64_t row, int64_t chunk, Room<T>& room) {
  using V = Register<T>;
  Check<T> check;
  const auto from = [&](int64_t i) { return a.query.of(row, chunk * CHUNK + i); };
  for (int64_t i = 0; i < a.queries(chunk); ++i) {
    T* to = room.query.at(i);
    read<T>(from(i), a.d, to, a.maps, check);
    V top(0);
    for (int64_t w = 0; w < a.d; w += WIDE<T>) top = at::vec::maximum(top, V::loadu(to + w).abs());
    const T found = at::vec::vec_reduce_all<T>([](V x, V y) { return at::vec::maximum(x, y); }, top);
    room.top[i] = found == T(0) ? T(1) : found;
    each<T>(to, a.d, to, [&](const V& x, int64_t) { return x / V(room.top[i]); });
  }
  room.lost.fill(false);
  if (check.passed()) return;
  for (int64_t i = 0; i < a.queries(chunk); ++i)
    if (!is_finite(from(i), a.d)) {
      room.lost[i] = true;
      std::fill_n(room.query.at(i), a.d, T(1));
    }
}

// Features of the keys of a chunk, and their values; zeros where nothing counts.
template <typename T>
void read_keys(const Attention<T>& a, int64_t row, int64_t chunk, Room<T>& room) {
  Check<T> check;
  const auto leave_out = [&](int64_t j) {
    room.unseen[j] = true;
    std::fill_n(room.key.at(j), a.d, T(0));
    std::fill_n(room.value.at(j), a.m, T(0));
  };
  for (int64_t j = 0; j < a.keys(chunk); ++j) {
    const int64_t place = chunk * CHUNK + j;
    room.unseen[j] = false;
    if (a.hidden(row, place)) {
      leave_out(j);
      continue;
    }
    read<T>(a.key.of(row, place), a.d, room.key.at(j), a.maps, check);
    read<T>(a.value.of(row, place), a.m, room.value.at(j), false, check);
  }
  room.spoilt = CHUNK;
  if (check.passed()) return;
  for (int64_t j = a.keys(chunk) - 1; j >= 0; --j) {
    const int64_t place = chunk * CHUNK + j;
    if (!room.unseen[j] && !(is_finite(a.key.of(row, place), a.d) && is_finite(a.value.of(row, place), a.m))) {
      leave_out(j);
      room.spoilt = j;
    }
  }
}

// memory += left^T right, total += the sum of the rows of `summed` by their factors, or of `summed` alone.
template <typename T>
void write(int64_t count, int64_t rows, int64_t columns, const Matrix<T>& left, const Matrix<T>& right, State<T>& state,
           const Matrix<T>& summed, int64_t size, const T* factors = nullptr) {
  multiply<T>(rows, columns, count, left.turned(), right, state.memory, true);
  for (int64_t w = 0; w < size; w += WIDE<T>) {
    Register<T> total = Register<T>::loadu(&state.total[w]);
    for (int64_t j = 0; j < count; ++j) {
      const Register<T> x = Register<T>::loadu(summed.at(j) + w);
      total = factors ? at::vec::fmadd(x, Register<T>(factors[j]), total) : total + x;
    }
    total.store(&state.total[w]);
  }
}

template <typename T>
void write_keys(const Attention<T>& a, int64_t chunk, Room<T>& room, State<T>& state) {
  write<T>(a.keys(chunk), a.d, a.m, room.key, room.value, state, room.key, a.d);
}

// Calls run(row, segment, room) for each segment of each sequence.
template <typename T, typename F>
void in_parallel(const Attention<T>& a, const F& run) {
  at::parallel_for(0, a.rows * a.segments, 1, [&](int64_t begin, int64_t end) {
    Room<T> room(a.d, a.m);
    for (int64_t piece = begin; piece < end; ++piece) run(piece / a.segments, piece % a.segments, room);
  });
}

// The state with which each segment begins: `edge` of its sequence, and what the segments on the way to it wrote.
template <typename T, typename E, typename F>
std::vector<State<T>> begun(const Attention<T>& a, int64_t rows, int64_t columns, bool backwards, const E& edge, const F& run) {
  std::vector<State<T>> found(a.rows * a.segments);
  for (State<T>& each : found) each = State<T>(rows, columns);
  if (a.segments > 1) in_parallel(a, [&](int64_t row, int64_t segment, Room<T>& room) {
    if (segment != (backwards ? 0 : a.segments - 1))
      for (int64_t chunk = a.first(segment); chunk < a.first(segment + 1); ++chunk) run(row, chunk, room, found[row * a.segments + segment]);
  });
  for (int64_t row = 0; row < a.rows; ++row) {
    State<T> sum(rows, columns);
    edge(row, sum);
    for (int64_t i = 0; i < a.segments; ++i) {
      State<T>& here = found[row * a.segments + (backwards ? a.segments - 1 - i : i)];
      State<T> next = here;
      next += sum;
      here = std::move(sum);
      sum = std::move(next);
    }
  }
  return found;
}

// A state from tensors (rows, d, m) and (rows, d), turned where it is to be (m, d); and into them.
template <typename T>
void load(const Tensor& memory, const Tensor& total, int64_t row, int64_t d, int64_t m, bool turned, State<T>& state) {
  const T* from = memory.const_data_ptr<T>() + row * d * m;
  for (int64_t w = 0; w < d; ++w)
    for (int64_t c = 0; c < m; ++c) (turned ? state.memory.at(c)[w] : state.memory.at(w)[c]) = from[w * m + c];
  std::copy_n(total.const_data_ptr<T>() + row * d, d, state.total.begin());
}

template <typename T>
void save(const State<T>& state, int64_t row, int64_t d, int64_t m, Tensor& memory, Tensor& total) {
  for (int64_t w = 0; w < d; ++w) std::copy_n(state.memory.at(w), m, memory.data_ptr<T>() + (row * d + w) * m);
  std::copy_n(state.total.begin(), d, total.data_ptr<T>() + row * d);
}

// What comes out of the way forwards; and of each sequence the first key that is seen but not finite.
template <typename T>
struct Found {
  T *context, *below;
  bool* lost;
  std::vector<int64_t> spoilt;
  std::mutex guard;
};

template <typename T>
void forward_chunk(const Attention<T>& a, int64_t row, int64_t chunk, Room<T>& room, State<T>& state, Found<T>& to) {
  using V = Register<T>;
  const int64_t queries = a.queries(chunk), keys = a.keys(chunk);
  read_queries(a, row, chunk, room);
  read_keys(a, row, chunk, room);
  turn<T>(keys, a.d, room.key, room.across);
  triangle<T>(queries, keys, a.d, room.query.left(), room.across, room.scores);
  multiply<T>(queries, a.m, a.d, room.query.left(), state.memory, room.to_value, false);
  multiply<T>(queries, a.m, keys, room.scores.left(), room.value, room.to_value, true, Part::before);
  for (int64_t i = 0; i < queries; ++i) {
    V found(0);
    for (int64_t w = 0; w < a.d; w += WIDE<T>) found = at::vec::fmadd(V::loadu(room.query.at(i) + w), V::loadu(&state.total[w]), found);
    for (int64_t j = 0; j < std::min(i + 1, keys); j += WIDE<T>) found = found + V::loadu(room.scores.at(i) + j);
    const T all = sum<T>(found);
    const int64_t place = row * a.n + chunk * CHUNK + i;
    to.below[place] = all;
    to.lost[place] = room.lost[i];
    each<T>(room.to_value.at(i), a.m, to.context + place * a.m, [&](const V& x, int64_t) { return all == T(0) ? V(0) : x / V(all); });
  }
  if (room.spoilt < CHUNK) {
    const std::lock_guard<std::mutex> held(to.guard);
    to.spoilt[row] = std::min(to.spoilt[row], chunk * CHUNK + room.spoilt);
  }
  write_keys(a, chunk, room, state);
}

// The context as if nothing were lost; the sums below the fraction; which queries are lost by a key and by themselves;
// the state after all keys.
template <typename T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Tensor& query, const Tensor& key, const Tensor& value,
                                                   const std::optional<Tensor>& seen, const std::optional<Tensor>& memory,
                                                   const std::optional<Tensor>& total, bool maps) {
  const Attention<T> a(query, key, value, seen, maps);
  const auto batch = query.sizes().slice(0, query.dim() - 2);
  const auto made = [&](std::vector<int64_t> shape) {
    shape.insert(shape.begin(), batch.begin(), batch.end());
    return at::empty(shape, query.options());
  };
  Tensor context = made({a.n, a.m}), below = made({a.n}), memory_after = made({a.d, a.m}), total_after = made({a.d});
  Tensor lost = at::stack({at::zeros_like(below, at::kBool), at::empty_like(below, at::kBool)});
  bool* by_key = lost.data_ptr<bool>();
  Found<T> found{context.data_ptr<T>(), below.data_ptr<T>(), by_key + a.rows * a.n, std::vector<int64_t>(a.rows, a.n)};
  auto states = begun<T>(
      a, a.d, a.m, false,
      [&](int64_t row, State<T>& state) {
        if (memory) load<T>(*memory, *total, row, a.d, a.m, false, state);
      },
      [&](int64_t row, int64_t chunk, Room<T>& room, State<T>& state) {
        read_keys(a, row, chunk, room);
        write_keys(a, chunk, room, state);
      });
  in_parallel(a, [&](int64_t row, int64_t segment, Room<T>& room) {
    State<T>& state = states[row * a.segments + segment];
    for (int64_t chunk = a.first(segment); chunk < a.first(segment + 1); ++chunk)
      forward_chunk(a, row, chunk, room, state, found);
    if (segment == a.segments - 1) save<T>(state, row, a.d, a.m, memory_after, total_after);
  });
  for (int64_t row = 0; row < a.rows; ++row) std::fill(by_key + row * a.n + found.spoilt[row], by_key + (row + 1) * a.n, true);
  return {context, below, lost, memory_after, total_after};
}

// What comes from above, on its way to the sums over the keys: by value, and by one.
template <typename T>
struct Above {
  Vectors<T> grad;
  const T *context, *below;
};

template <typename T>
void read_above(const Attention<T>& a, const Above<T>& above, int64_t row, int64_t chunk, Room<T>& room) {
  using V = Register<T>;
  for (int64_t i = 0; i < a.queries(chunk); ++i) {
    const int64_t place = row * a.n + chunk * CHUNK + i;
    const T* context = above.context + place * a.m;
    const T all = above.below[place];
    V inner(0);
    each<T>(above.grad.of(row, chunk * CHUNK + i), a.m, room.grad.at(i), [&](const V& x, int64_t w) {
      const V part = all == T(0) ? V(0) : x / V(all);
      inner = at::vec::fmadd(part, w + WIDE<T> <= a.m ? V::loadu(context + w) : V::loadu(context + w, a.m - w), inner);
      return part;
    });
    room.inner[i] = -sum<T>(inner);
  }
}

// The slopes of the scores, as a triangle.
template <typename T>
void slopes(const Attention<T>& a, int64_t chunk, Room<T>& room) {
  const int64_t queries = a.queries(chunk), keys = a.keys(chunk);
  turn<T>(keys, a.m, room.value, room.across);
  triangle<T>(queries, keys, a.m, room.grad.left(), room.across, room.slopes);
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = 0; j < std::min(i + 1, keys); ++j) room.slopes.at(i)[j] += room.inner[i];
}

// From the start: gradients of the queries. The state is turned.
template <typename T>
void query_chunk(const Attention<T>& a, const Above<T>& above, int64_t row, int64_t chunk, Room<T>& room, State<T>& state, T* to) {
  using V = Register<T>;
  const int64_t queries = a.queries(chunk), keys = a.keys(chunk);
  read_queries(a, row, chunk, room);
  read_keys(a, row, chunk, room);
  read_above(a, above, row, chunk, room);
  slopes(a, chunk, room);
  multiply<T>(queries, a.d, a.m, room.grad.left(), state.memory, room.to_key, false);
  multiply<T>(queries, a.d, keys, room.slopes.left(), room.key, room.to_key, true, Part::before);
  for (int64_t i = 0; i < queries; ++i) {
    T* here = to + (row * a.n + chunk * CHUNK + i) * a.d;
    if (room.lost[i]) {
      std::fill_n(here, a.d, T(0));
      continue;
    }
    const V top(room.top[i]), inner(room.inner[i]);
    each<T>(room.to_key.at(i), a.d, here, [&](const V& x, int64_t w) {
      const V found = at::vec::fmadd(inner, V::loadu(&state.total[w]), x) / top;
      return a.maps ? found * at::vec::minimum(V::loadu(room.query.at(i) + w) * top, V(1)) : found;
    });
  }
  write<T>(keys, a.m, a.d, room.value, room.key, state, room.key, a.d);
}

// From the end: gradients of keys and values.
template <typename T>
void key_chunk(const Attention<T>& a, const Above<T>& above, int64_t row, int64_t chunk, Room<T>& room, State<T>& state,
               T* to_key, T* to_value) {
  using V = Register<T>;
  const int64_t queries = a.queries(chunk), keys = a.keys(chunk), length = a.key.length;
  read_queries(a, row, chunk, room);
  read_keys(a, row, chunk, room);
  read_above(a, above, row, chunk, room);
  slopes(a, chunk, room);
  turn<T>(a.d, a.m, state.memory, room.across);
  multiply<T>(keys, a.d, a.m, room.value.left(), room.across, room.to_key, false);
  multiply<T>(keys, a.d, queries, room.slopes.turned(), room.query, room.to_key, true, Part::after);
  turn<T>(keys, a.d, room.key, room.across);
  triangle<T>(queries, keys, a.d, room.query.left(), room.across, room.scores);
  multiply<T>(keys, a.m, a.d, room.key.left(), state.memory, room.to_value, false);
  multiply<T>(keys, a.m, queries, room.scores.turned(), room.grad, room.to_value, true, Part::after);
  for (int64_t j = 0; j < keys; ++j) {
    const int64_t place = chunk * CHUNK + j;
    T *key = to_key + (row * length + place) * a.d, *value = to_value + (row * length + place) * a.m;
    if (room.unseen[j]) {
      std::fill_n(key, a.d, T(0));
      std::fill_n(value, a.m, T(0));
      continue;
    }
    each<T>(room.to_key.at(j), a.d, key, [&](const V& x, int64_t w) {
      const V found = x + V::loadu(&state.total[w]);
      return a.maps ? found * at::vec::minimum(V::loadu(room.key.at(j) + w), V(1)) : found;
    });
    std::copy_n(room.to_value.at(j), a.m, value);
  }
  write<T>(queries, a.d, a.m, room.query, room.grad, state, room.query, a.d, room.inner.data());
}

// The gradients of query, key and value, and of the state before.
template <typename T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& seen,
    const std::optional<Tensor>& memory, const std::optional<Tensor>& total, const Tensor& context, const Tensor& below,
    const Tensor& grad_memory, const Tensor& grad_total, bool maps) {
  const Attention<T> a(query, key, value, seen, maps);
  const Above<T> above{Vectors<T>(grad), context.const_data_ptr<T>(), below.const_data_ptr<T>()};
  Tensor to_query = at::empty(query.sizes(), query.options());
  Tensor to_memory = at::empty(grad_memory.sizes(), query.options()), to_total = at::empty(grad_total.sizes(), query.options());
  const auto made = [&](const Tensor& like) {
    return a.n_key == a.key.length ? at::empty(like.sizes(), like.options()) : at::zeros(like.sizes(), like.options());
  };
  Tensor to_key = made(key), to_value = made(value);
  T *query_out = to_query.data_ptr<T>(), *key_out = to_key.data_ptr<T>(), *value_out = to_value.data_ptr<T>();
  {
    auto states = begun<T>(
        a, a.m, a.d, false,
        [&](int64_t row, State<T>& state) {
          if (memory) load<T>(*memory, *total, row, a.d, a.m, true, state);
        },
        [&](int64_t row, int64_t chunk, Room<T>& room, State<T>& state) {
          read_keys(a, row, chunk, room);
          write<T>(a.keys(chunk), a.m, a.d, room.value, room.key, state, room.key, a.d);
        });
    in_parallel(a, [&](int64_t row, int64_t segment, Room<T>& room) {
      for (int64_t chunk = a.first(segment); chunk < a.first(segment + 1); ++chunk)
        query_chunk(a, above, row, chunk, room, states[row * a.segments + segment], query_out);
    });
  }
  auto states = begun<T>(
      a, a.d, a.m, true,
      [&](int64_t row, State<T>& state) { load<T>(grad_memory, grad_total, row, a.d, a.m, false, state); },
      [&](int64_t row, int64_t chunk, Room<T>& room, State<T>& state) {
        read_queries(a, row, chunk, room);
        read_above(a, above, row, chunk, room);
        write<T>(a.queries(chunk), a.d, a.m, room.query, room.grad, state, room.query, a.d, room.inner.data());
      });
  in_parallel(a, [&](int64_t row, int64_t segment, Room<T>& room) {
    State<T>& state = states[row * a.segments + segment];
    for (int64_t chunk = a.first(segment + 1) - 1; chunk >= a.first(segment); --chunk)
      key_chunk(a, above, row, chunk, room, state, key_out, value_out);
    if (segment == 0) save<T>(state, row, a.d, a.m, to_memory, to_total);
  });
  return {to_query, to_key, to_value, to_memory, to_total};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward_of_any(const Tensor& query, const Tensor& key, const Tensor& value,
                                                          const std::optional<Tensor>& seen, const std::optional<Tensor>& memory,
                                                          const std::optional<Tensor>& total, bool maps) {
  const auto run = query.scalar_type() == at::kDouble ? forward<double> : forward<float>;
  return run(query, key, value, seen, memory, total, maps);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward_of_any(
    const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& seen,
    const std::optional<Tensor>& memory, const std::optional<Tensor>& total, const Tensor& context, const Tensor& below,
    const Tensor& grad_memory, const Tensor& grad_total, bool maps) {
  const auto run = query.scalar_type() == at::kDouble ? backward<double> : backward<float>;
  return run(grad, query, key, value, seen, memory, total, context, below, grad_memory, grad_total, maps);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def(
      "linear_kernel(Tensor query, Tensor key, Tensor value, Tensor? seen, Tensor? memory, Tensor? total, bool maps) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "linear_kernel_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? seen, Tensor? memory, "
      "Tensor? total, Tensor context, Tensor below, Tensor grad_memory, Tensor grad_total, bool maps) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("linear_kernel", TORCH_FN(forward_of_any));
  m.impl("linear_kernel_backward", TORCH_FN(backward_of_any));
}
