// Attention whose weights are sigmoids of inner products, both passes: a block of queries and some keys at a time, so
// that the weights stay in the nearest caches between the products.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "tiles.h"

namespace {

using at::Tensor;
constexpr int64_t QUERIES = 96;  // of a block
constexpr int64_t KEYS = 128;    // whose weights are in memory

// 1 / (1 + e^-x)
inline V sigmoid(const V& x) {
  const V small = exponential(V(0.0f) - x.abs());
  return V::blendv(small, V(1.0f), x >= V(0.0f)) / (V(1.0f) + small);
}

// Columns of matrices (batch, row, column) in panels as wide as LANES, each contiguous: (batch, panel, row, LANES).
Tensor panels(const Tensor& matrices) {
  const int64_t missing = (LANES - matrices.size(-1) % LANES) % LANES;
  const Tensor whole = missing ? at::constant_pad_nd(matrices, {0, missing}) : matrices;
  return whole.unflatten(-1, {-1, LANES}).transpose(1, 2).contiguous();
}

// What one call is given: query (batch, query, d), with the scale; key in panels of its rows; mask (batch, query or 1, key).
struct Work {
  const Tensor query, key;
  const std::optional<Tensor> mask;
  const int64_t batch, n_query, n_key, d;
  const V shift;
  const bool is_causal;

  Work(const Tensor& query, const Tensor& key, const std::optional<Tensor>& mask, double shift, bool is_causal)
      : query(query.contiguous()), key(panels(key.transpose(1, 2))), mask(mask), batch(query.size(0)), n_query(query.size(1)),
        n_key(key.size(1)), d(query.size(2)), shift(static_cast<float>(shift)), is_causal(is_causal) {}

  int64_t blocks() const { return (n_query + QUERIES - 1) / QUERIES; }
  int64_t rows(int64_t row) const { return std::min(QUERIES, n_query - row); }
  int64_t visible(int64_t row) const { return is_causal ? std::min(n_key, row + rows(row)) : n_key; }

  // The weights of the queries from `row` on and `count` keys from `first` on.
  void weigh(int64_t b, int64_t row, int64_t first, int64_t count, float* weights) const {
    products(query, key, b, row, rows(row), first, count, weights);
    for (int64_t i = 0; i < rows(row); ++i) {
      float* mine = weights + i * KEYS;
      for (int64_t j = 0; j < count; j += WIDE) sigmoid(V::loadu(mine + j) + shift).store(mine + j);
      if (is_causal)
        for (int64_t j = std::max<int64_t>(0, row + i + 1 - first); j < count; ++j) mine[j] = 0.0f;
      if (!mask) continue;
      const bool* shown = mask->const_data_ptr<bool>() + b * mask->stride(0) + (mask->size(1) > 1 ? row + i : 0) * mask->stride(1);
      for (int64_t j = 0; j < count; ++j)
        if (!shown[(first + j) * mask->stride(2)]) mine[j] = 0.0f;
    }
  }

  // Inner products of vectors (batch, query, size) with some in panels of their rows.
  static void products(const Tensor& vectors, const Tensor& others, int64_t b, int64_t row, int64_t rows, int64_t first,
                       int64_t count, float* out) {
    const int64_t size = vectors.size(2);
    const float* left = vectors.const_data_ptr<float>() + (b * vectors.size(1) + row) * size;
    const float* right = others.const_data_ptr<float>() + b * others.stride(0);
    for (int64_t j = 0; j < count; j += LANES)
      multiply(rows, {left, size, 1}, right + (first + j) * size, LANES, size, out + j, KEYS, false);
  }
};

// to (row, width) += left times the rows from `first` on of matrices in panels; summed by itself first, for the digits.
void add(int64_t rows, Left left, const Tensor& matrices, int64_t b, int64_t first, int64_t count, float* to) {
  const int64_t width = matrices.size(1) * LANES;
  float sums[std::max(QUERIES, KEYS) * LANES];
  for (int64_t part = 0; part < matrices.size(1); ++part) {
    const float* right = matrices.const_data_ptr<float>() + b * matrices.stride(0) + part * matrices.stride(1) + first * LANES;
    multiply(rows, left, right, LANES, count, sums, LANES, false);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < LANES; j += WIDE) {
        float* at = to + i * width + part * LANES + j;
        (V::loadu(at) + V::loadu(sums + i * LANES + j)).store(at);
      }
  }
}

Tensor sigmoid_kernel(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask,
                      double shift, bool is_causal) {
  const Work work(query, key, mask, shift, is_causal);
  const Tensor values = panels(value);
  const int64_t width = values.size(1) * LANES;
  const Tensor context = at::zeros({work.batch, work.n_query, width}, query.options());
  float* to = context.data_ptr<float>();
  at::parallel_for(0, work.batch * work.blocks(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(QUERIES * KEYS);
    for (int64_t at = begin; at < end; ++at) {
      const int64_t b = at / work.blocks(), row = at % work.blocks() * QUERIES;
      for (int64_t first = 0; first < work.visible(row); first += KEYS) {
        const int64_t count = std::min(KEYS, work.visible(row) - first);
        work.weigh(b, row, first, count, weights.data());
        add(work.rows(row), {weights.data(), KEYS, 1}, values, b, first, count, to + (b * work.n_query + row) * width);
      }
    }
  });
  return context.narrow(-1, 0, value.size(2));
}

// Gradients of query, key and value. Where there are fewer sequences than threads, several share the queries of one.
std::tuple<Tensor, Tensor, Tensor> sigmoid_kernel_backward(const Tensor& upstream, const Tensor& query, const Tensor& key,
                                                           const Tensor& value, const std::optional<Tensor>& mask,
                                                           double shift, bool is_causal) {
  const Work work(query, key, mask, shift, is_causal);
  const Tensor given = upstream.contiguous(), values = panels(value.transpose(1, 2));
  const Tensor above = panels(upstream), keys = panels(key), queries = panels(query);
  const int64_t d = keys.size(1) * LANES, d_v = above.size(1) * LANES;
  const int64_t groups = std::min<int64_t>(work.blocks(), (at::get_num_threads() + work.batch - 1) / work.batch);
  const Tensor to_query = at::zeros({work.batch, work.n_query, d}, query.options());
  const Tensor to_key = at::zeros({work.batch, groups, work.n_key, d}, query.options());
  const Tensor to_value = at::zeros({work.batch, groups, work.n_key, d_v}, query.options());
  float *q = to_query.data_ptr<float>(), *k = to_key.data_ptr<float>(), *v = to_value.data_ptr<float>();
  at::parallel_for(0, work.batch * groups, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(QUERIES * KEYS), slopes(QUERIES * KEYS);
    for (int64_t at = begin; at < end; ++at)
      for (int64_t block = at % groups; block < work.blocks(); block += groups) {
        const int64_t b = at / groups, row = block * QUERIES, rows = work.rows(row);
        for (int64_t first = 0; first < work.visible(row); first += KEYS) {
          const int64_t count = std::min(KEYS, work.visible(row) - first);
          work.weigh(b, row, first, count, weights.data());
          Work::products(given, values, b, row, rows, first, count, slopes.data());
          for (int64_t i = 0; i < rows * KEYS; i += WIDE) {
            const V weight = V::loadu(weights.data() + i);
            (V::loadu(slopes.data() + i) * (weight - weight * weight)).store(slopes.data() + i);
          }
          add(rows, {slopes.data(), KEYS, 1}, keys, b, first, count, q + (b * work.n_query + row) * d);
          add(count, {weights.data(), 1, KEYS}, above, b, row, rows, v + (at * work.n_key + first) * d_v);
          add(count, {slopes.data(), 1, KEYS}, queries, b, row, rows, k + (at * work.n_key + first) * d);
        }
      }
  });
  return {to_query.narrow(-1, 0, work.d), to_key.sum(1).narrow(-1, 0, work.d), to_value.sum(1).narrow(-1, 0, value.size(2))};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def(
      "sigmoid_kernel(Tensor query, Tensor key, Tensor value, Tensor? mask, float shift, bool is_causal) -> Tensor");
  m.def(
      "sigmoid_kernel_backward(Tensor upstream, Tensor query, Tensor key, Tensor value, Tensor? mask, float shift, "
      "bool is_causal) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("sigmoid_kernel", &sigmoid_kernel);
  m.impl("sigmoid_kernel_backward", &sigmoid_kernel_backward);
}
