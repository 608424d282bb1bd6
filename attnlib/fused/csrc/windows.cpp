// Attention of each query to a window of the keys, both passes: no pair outside of the windows is computed, but for
// those of neighbours in a block.
//
// A block is some queries that stand beside each other in the order of their windows, a lane of the registers each. The
// keys that one of them sees are rows of its energies, a number a lane. So softmax and Gaussian go down the lanes, and
// all else is products of matrices whose right side is as wide as the lanes: of a tile of ROWS rows all sums stay in
// registers.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/macros/Macros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "tiles.h"

namespace {

using at::Tensor;
constexpr int64_t CHUNK = 64;     // keys whose values stay in the cache while a block sums over them
constexpr int64_t QUERIES = 128;  // of a piece of work
constexpr float INF = std::numeric_limits<float>::infinity();
using Lane = std::array<float, LANES>;

// A tensor of vectors: where each row of the batch begins, and the steps in it.
struct Vectors {
  const float* data;
  std::vector<int64_t> start;
  int64_t length, size, step;

  explicit Vectors(const Tensor& tensor) : data(tensor.const_data_ptr<float>()), length(tensor.size(-2)), size(tensor.size(-1)), step(tensor.stride(-2)) {
    TORCH_CHECK(tensor.stride(-1) == 1 || size == 1, "vectors must be contiguous");
    start = starts(tensor);
  }

  static std::vector<int64_t> starts(const Tensor& tensor) {
    std::vector<int64_t> found{0};
    for (int64_t axis = 0; axis < tensor.dim() - 2; ++axis) {
      std::vector<int64_t> next;
      for (int64_t from : found)
        for (int64_t i = 0; i < tensor.size(axis); ++i) next.push_back(from + i * tensor.stride(axis));
      found = std::move(next);
    }
    return found;
  }

  const float* of(int64_t row, int64_t place) const { return data + start[row] + place * step; }
};

struct Mask {
  const bool* data = nullptr;
  std::vector<int64_t> start;
  int64_t query = 0, key = 0;

  explicit Mask(const std::optional<Tensor>& mask) {
    if (!mask) return;
    data = mask->const_data_ptr<bool>();
    start = Vectors::starts(*mask);
    query = mask->size(-2) > 1 ? mask->stride(-2) : 0;
    key = mask->size(-1) > 1 ? mask->stride(-1) : 0;
  }
};

struct Block {
  int64_t row, from, to;    // queries, in the order of their windows
  int64_t left, right;      // keys
  int64_t count() const { return to - from; }
  int64_t span() const { return right - left; }
};

// What one call is given.
struct Windows {
  Vectors query, key, value;
  Mask mask;
  const float* centre;
  const int64_t *first, *last, *order;  // (rows or 1, query)
  int64_t rows, n_query, step;          // to the next row of those
  float scale, narrow;                  // one over the half width
  bool gaussian, renormalise;

  Windows(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& centre, const Tensor& ends,
          const std::optional<Tensor>& order, const std::optional<Tensor>& mask, int64_t half_width, double scale,
          bool gaussian, bool renormalise)
      : query(query), key(key), value(value), mask(mask), centre(gaussian ? centre.const_data_ptr<float>() : nullptr),
        first(ends.const_data_ptr<int64_t>()), last(first + ends.stride(0)),
        order(order ? order->const_data_ptr<int64_t>() : nullptr), rows(this->query.start.size()),
        n_query(query.size(-2)), step(ends.size(1) > 1 ? n_query : 0), scale(float(scale)),
        narrow(1.0f / float(half_width)), gaussian(gaussian), renormalise(gaussian && renormalise) {}

  bool weighs() const { return gaussian && !renormalise; }  // after the softmax
  int64_t place(int64_t row, int64_t i) const { return order ? order[row * step + i] : i; }

  // From a query on, as many as overlap and have a lane. What sees nothing is part of any.
  Block block(int64_t row, int64_t from, int64_t end) const {
    Block found{row, from, from, 0, 0};
    for (; found.to < std::min(end, from + LANES); ++found.to) {
      const int64_t a = first[row * step + found.to], b = last[row * step + found.to] + 1;
      if (b <= a) continue;
      if (found.span() == 0) {
        found.left = a;
        found.right = b;
      } else if (a > found.right) {
        break;
      }
      found.right = std::max(found.right, b);
    }
    return found;
  }
};

// The numbers of one thread.
struct Room {
  std::vector<float> query, energies, slopes, found, grad, query_rows, grad_rows;
  Lane centre, top, part;
  std::array<int64_t, LANES> first, last;
};

// Vectors of a block's queries as columns: (size, LANES).
void turned(const Windows& w, const Block& b, const Vectors& from, float scale, std::vector<float>& to) {
  to.assign(from.size * LANES, 0.0f);
  for (int64_t n = 0; n < b.count(); ++n) {
    const float* vector = from.of(b.row, w.place(b.row, b.from + n));
    for (int64_t i = 0; i < from.size; ++i) to[i * LANES + n] = scale * vector[i];
  }
}

void edges(const Windows& w, const Block& b, Room& room) {
  room.first.fill(std::numeric_limits<int64_t>::max());
  room.last.fill(-1);
  room.centre.fill(0.0f);
  for (int64_t n = 0; n < b.count(); ++n) {
    room.first[n] = w.first[b.row * w.step + b.from + n];
    room.last[n] = w.last[b.row * w.step + b.from + n];
    if (w.gaussian) room.centre[n] = w.centre[b.row * w.step + b.from + n];
  }
}

// Calls f(number, lane, key) for each register of a block's numbers (span, LANES).
template <typename F>
C10_ALWAYS_INLINE void each(const Block& b, const F& f) {
  for (int64_t key = 0; key < b.span(); ++key) {
    f(key * LANES, 0, b.left + key);
    f(key * LANES + WIDE, WIDE, b.left + key);
  }
}

// How far a key is from the centres, as a part of the half width.
C10_ALWAYS_INLINE V away(const Windows& w, const Room& room, int64_t key, int64_t lane) {
  return (V(float(key)) - V::loadu(&room.centre[lane])) * V(w.narrow);
}

// Energies of a block, (span, LANES), minus infinity where nothing is seen.
void energies(const Windows& w, const Block& b, Room& room) {
  room.energies.resize(b.span() * LANES);
  float* all = room.energies.data();
  multiply(b.span(), {w.key.of(b.row, b.left), w.key.step, 1}, room.query.data(), LANES, w.key.size, all, LANES, false);
  if (w.renormalise)
    each(b, [&](int64_t i, int64_t lane, int64_t key) {
      const V distance = away(w, room, key, lane);
      at::vec::fmadd(distance * V(-2.0f), distance, V::loadu(all + i)).store(all + i);
    });
  for (int64_t lane = 0; lane < LANES; ++lane) {
    const int64_t low = std::clamp(room.first[lane], b.left, b.right), high = std::clamp(room.last[lane] + 1, low, b.right);
    for (int64_t key = b.left; key < low; ++key) all[(key - b.left) * LANES + lane] = -INF;
    for (int64_t key = high; key < b.right; ++key) all[(key - b.left) * LANES + lane] = -INF;
  }
  if (!w.mask.data) return;
  const bool* mask = w.mask.data + w.mask.start[b.row];
  for (int64_t key = b.left; key < b.right; ++key) {
    float* row = all + (key - b.left) * LANES;
    for (int64_t n = 0; n < b.count(); ++n)
      if (!mask[key * w.mask.key + w.place(b.row, b.from + n) * w.mask.query]) row[n] = -INF;
  }
}

// Of each lane the largest energy, or 0 where nothing is seen.
void largest(const Block& b, Room& room) {
  room.top.fill(-INF);
  each(b, [&](int64_t i, int64_t lane, int64_t) {
    at::vec::maximum(V::loadu(&room.top[lane]), V::loadu(&room.energies[i])).store(&room.top[lane]);
  });
  for (float& top : room.top) top = top == -INF ? 0.0f : top;
}

// exp(energy - top) in place of the energies, and one over their sum, or 0.
void exponentials(const Block& b, Room& room) {
  Lane sum{};
  each(b, [&](int64_t i, int64_t lane, int64_t) {
    const V found = exponential(V::loadu(&room.energies[i]) - V::loadu(&room.top[lane]));
    found.store(&room.energies[i]);
    (V::loadu(&sum[lane]) + found).store(&sum[lane]);
  });
  for (int64_t lane = 0; lane < LANES; ++lane) room.part[lane] = sum[lane] == 0.0f ? 0.0f : 1.0f / sum[lane];
}

void times_gaussian(const Windows& w, const Block& b, const Room& room, std::vector<float>& all) {
  each(b, [&](int64_t i, int64_t lane, int64_t key) {
    const V distance = away(w, room, key, lane);
    (V::loadu(&all[i]) * exponential(distance * distance * V(-2.0f))).store(&all[i]);
  });
}

// (size, LANES): the sum over a block's keys of their vectors by the weight of each lane.
void weighted(const Block& b, const Vectors& vectors, const std::vector<float>& weights, std::vector<float>& found) {
  found.resize(vectors.size * LANES);
  if (b.span() == 0) std::fill(found.begin(), found.end(), 0.0f);
  for (int64_t key = 0; key < b.span(); key += CHUNK)
    multiply(vectors.size, {vectors.of(b.row, b.left + key), 1, vectors.step}, weights.data() + key * LANES, LANES,
             std::min(CHUNK, b.span() - key), found.data(), LANES, key > 0);
}

void back(const Windows& w, const Block& b, const std::vector<float>& found, const Lane& factor, int64_t size, float* out) {
  for (int64_t n = 0; n < b.count(); ++n) {
    float* to = out + (b.row * w.n_query + w.place(b.row, b.from + n)) * size;
    for (int64_t i = 0; i < size; ++i) to[i] = found[i * LANES + n] * factor[n];
  }
}

void forward_block(const Windows& w, const Block& b, Room& room, float* context, float* top, float* part) {
  edges(w, b, room);
  turned(w, b, w.query, w.scale, room.query);
  energies(w, b, room);
  largest(b, room);
  exponentials(b, room);
  if (w.weighs()) times_gaussian(w, b, room, room.energies);
  weighted(b, w.value, room.energies, room.found);
  back(w, b, room.found, room.part, w.value.size, context);
  for (int64_t n = 0; n < b.count(); ++n) {
    top[b.row * w.n_query + b.from + n] = room.top[n];
    part[b.row * w.n_query + b.from + n] = room.part[n];
  }
}

// The context, and of each query, in the order of the windows, its largest energy and one over the sum of exponentials.
std::tuple<Tensor, Tensor> forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& centre,
                                   const Tensor& ends, const std::optional<Tensor>& order,
                                   const std::optional<Tensor>& mask, int64_t half_width, double scale, bool gaussian,
                                   bool renormalise) {
  const Windows w(query, key, value, centre, ends, order, mask, half_width, scale, gaussian, renormalise);
  auto shape = query.sizes().vec();
  shape.back() = value.size(-1);
  Tensor context = at::empty(shape, value.options()), statistics = at::empty({2, w.rows, w.n_query}, value.options());
  float *out = context.data_ptr<float>(), *top = statistics.data_ptr<float>(), *part = top + w.rows * w.n_query;
  const int64_t pieces = (w.n_query + QUERIES - 1) / QUERIES;
  at::parallel_for(0, w.rows * pieces, 1, [&](int64_t begin, int64_t end) {
    Room room;
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t row = piece / pieces, last = std::min(w.n_query, (piece % pieces + 1) * QUERIES);
      for (int64_t from = piece % pieces * QUERIES; from < last;) {
        const Block b = w.block(row, from, last);
        forward_block(w, b, room, out, top, part);
        from = b.to;
      }
    }
  });
  return {context, statistics};
}

// Gradients that are wanted; those of keys and values with room up to a whole number of lanes.
struct Gradients {
  float *query, *key, *value, *centre;
  int64_t key_row, value_row;
};

void padded(const Windows& w, const Block& b, const Vectors& from, float scale, int64_t row, std::vector<float>& to) {
  to.assign(LANES * row, 0.0f);
  for (int64_t n = 0; n < b.count(); ++n) {
    const float* vector = from.of(b.row, w.place(b.row, b.from + n));
    for (int64_t i = 0; i < from.size; ++i) to[n * row + i] = scale * vector[i];
  }
}

// To each key of a block the sum over its lanes of their weight there, by their vector.
void spread(const Block& b, const std::vector<float>& weights, const std::vector<float>& vectors, int64_t row, float* out) {
  for (int64_t i = 0; i < row; i += LANES)
    multiply(b.span(), {weights.data(), LANES, 1}, vectors.data() + i, row, LANES, out + i, row, true);
}

struct Backward {
  Vectors grad;
  const float *top, *part;
  Gradients to;
};

void backward_block(const Windows& w, const Backward& given, const Block& b, Room& room) {
  const Gradients& to = given.to;
  edges(w, b, room);
  turned(w, b, w.query, w.scale, room.query);
  turned(w, b, given.grad, 1.0f, room.grad);
  room.top.fill(0.0f);
  room.part.fill(0.0f);
  std::copy_n(given.top + b.row * w.n_query + b.from, b.count(), room.top.begin());
  std::copy_n(given.part + b.row * w.n_query + b.from, b.count(), room.part.begin());
  energies(w, b, room);
  each(b, [&](int64_t i, int64_t lane, int64_t) {
    const V found = exponential(V::loadu(&room.energies[i]) - V::loadu(&room.top[lane]));
    (found * V::loadu(&room.part[lane])).store(&room.energies[i]);
  });
  if (to.query || to.key || to.centre) {
    room.slopes.resize(room.energies.size());
    float* slopes = room.slopes.data();
    multiply(b.span(), {w.value.of(b.row, b.left), w.value.step, 1}, room.grad.data(), LANES, w.value.size, slopes, LANES, false);
    if (w.weighs()) times_gaussian(w, b, room, room.slopes);
    // The sum that a softmax takes off, of the same products, so that a weight of one leaves exactly nothing.
    Lane inner{}, centre{};
    each(b, [&](int64_t i, int64_t lane, int64_t) {
      const V whole = V::loadu(&room.energies[i]) * V::loadu(slopes + i);
      whole.store(slopes + i);
      (V::loadu(&inner[lane]) + whole).store(&inner[lane]);
    });
    each(b, [&](int64_t i, int64_t lane, int64_t key) {
      const V whole = V::loadu(slopes + i), slope = at::vec::fnmadd(V::loadu(&room.energies[i]), V::loadu(&inner[lane]), whole);
      slope.store(slopes + i);
      if (to.centre)
        at::vec::fmadd(w.renormalise ? slope : whole, away(w, room, key, lane), V::loadu(&centre[lane])).store(&centre[lane]);
    });
    for (int64_t n = 0; to.centre && n < b.count(); ++n)
      to.centre[b.row * w.n_query + b.from + n] = centre[n] * 4.0f * w.narrow;
  }
  if (to.query) {
    weighted(b, w.key, room.slopes, room.found);
    Lane factor;
    factor.fill(w.scale);
    back(w, b, room.found, factor, w.query.size, to.query);
  }
  if (to.key) {
    padded(w, b, w.query, w.scale, to.key_row, room.query_rows);
    spread(b, room.slopes, room.query_rows, to.key_row, to.key + (b.row * w.key.length + b.left) * to.key_row);
  }
  if (to.value) {
    if (w.weighs()) times_gaussian(w, b, room, room.energies);
    padded(w, b, given.grad, 1.0f, to.value_row, room.grad_rows);
    spread(b, room.energies, room.grad_rows, to.value_row, to.value + (b.row * w.key.length + b.left) * to.value_row);
  }
}

struct Range {
  int64_t row, from, to;  // queries
};

// A row's queries in ranges, such that no key is seen from two ranges that have one between them.
void add_ranges(const Windows& w, int64_t row, int64_t wanted, std::array<std::vector<Range>, 2>& turns) {
  int64_t from = 0, before = 0, reached = 0, number = 0;  // keys that the range before has seen, and all so far
  auto close = [&](int64_t to) {
    turns[number++ % 2].push_back({row, from, to});
    from = to;
    before = reached;
  };
  for (int64_t i = 0; i < w.n_query; ++i) {
    const int64_t a = w.first[row * w.step + i], b = w.last[row * w.step + i] + 1;
    if (b <= a) continue;
    if ((i - from) * wanted >= w.n_query && a >= before) close(i);
    reached = std::max(reached, b);
  }
  close(w.n_query);
}

// The gradients of query, key, value and centre, as far as wanted.
std::tuple<Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& centre,
    const Tensor& ends, const std::optional<Tensor>& order, const std::optional<Tensor>& mask,
    const Tensor& statistics, int64_t half_width, double scale, bool gaussian, bool renormalise, std::array<bool, 4> wanted) {
  const Windows w(query, key, value, centre, ends, order, mask, half_width, scale, gaussian, renormalise);
  auto whole = [](int64_t size) { return (size + LANES - 1) / LANES * LANES; };
  auto zeros = [&](const Vectors& like) { return at::zeros({w.rows, like.length, whole(like.size)}, grad.options()); };
  Tensor to_query, to_key, to_value, to_centre;
  Backward given{Vectors(grad), statistics.const_data_ptr<float>(), nullptr, {}};
  given.part = given.top + w.rows * w.n_query;
  if (wanted[0]) given.to.query = (to_query = at::empty(query.sizes(), query.options())).data_ptr<float>();
  if (wanted[1]) given.to.key = (to_key = zeros(w.key)).data_ptr<float>();
  if (wanted[2]) given.to.value = (to_value = zeros(w.value)).data_ptr<float>();
  if (wanted[3]) given.to.centre = (to_centre = at::empty({w.rows, w.n_query}, grad.options())).data_ptr<float>();
  given.to.key_row = whole(w.key.size);
  given.to.value_row = whole(w.value.size);
  const int64_t threads = at::get_num_threads(), each = w.rows >= threads ? 1 : 2 * ((threads + w.rows - 1) / w.rows);
  std::array<std::vector<Range>, 2> turns;
  for (int64_t row = 0; row < w.rows; ++row) add_ranges(w, row, each, turns);
  for (const auto& turn : turns)
    at::parallel_for(0, turn.size(), 1, [&](int64_t begin, int64_t end) {
      Room room;
      for (int64_t number = begin; number < end; ++number)
        for (int64_t from = turn[number].from; from < turn[number].to;) {
          const Block b = w.block(turn[number].row, from, turn[number].to);
          backward_block(w, given, b, room);
          from = b.to;
        }
    });
  auto cut = [](const Tensor& padded, const Tensor& like) {
    return padded.defined() ? padded.narrow(-1, 0, like.size(-1)).reshape(like.sizes()) : padded;
  };
  if (to_centre.defined() && w.step == 0) to_centre = to_centre.sum(0, true);
  return {to_query, cut(to_key, key), cut(to_value, value), to_centre};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def(
      "windows_kernel(Tensor query, Tensor key, Tensor value, Tensor centre, Tensor ends, Tensor? order, Tensor? mask, "
      "int half_width, float scale, bool gaussian, bool renormalise) -> (Tensor, Tensor)");
  m.def(
      "windows_kernel_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor centre, Tensor ends, "
      "Tensor? order, Tensor? mask, Tensor statistics, int half_width, float scale, bool gaussian, "
      "bool renormalise, bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("windows_kernel", TORCH_FN(forward));
  m.impl("windows_kernel_backward", TORCH_FN(backward));
}
