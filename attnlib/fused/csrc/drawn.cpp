// A draw from each row of energies in one pass: exponentials, their sums, and the inverse of the distribution function.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

namespace {

using Lanes = at::vec::Vectorized<float>;
constexpr int64_t width = Lanes::size();

// The first place whose running sum is above the goal; the last one with a weight, should rounding keep all below.
template <typename Weight>
int64_t passed(const Weight* weights, int64_t n, double& goal) {
  double before = 0.0, last_before = 0.0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; i++) {
    if (!(weights[i] > 0)) continue;
    last = i;
    last_before = before;
    before += weights[i];
    if (before > goal) break;
  }
  goal -= last_before;
  return last;
}

// The sum of the exponentials of a block, which take the place of the energies.
float exponentiated(float* energies, int64_t n) {
  Lanes sum(0.0f);
  int64_t i = 0;
  for (; i + width <= n; i += width) {
    Lanes weight = Lanes::loadu(energies + i).exp_u20();  // right to 1e-6, as in torch's own attention
    weight.store(energies + i);
    sum = sum + weight;
  }
  float lanes[width];
  sum.store(lanes);
  float total = 0.0f;
  for (int64_t j = 0; j < width; j++) total += lanes[j];
  for (; i < n; i++) total += energies[i] = std::exp(energies[i]);
  return total;
}

// Energies (row, key) less a shift, contiguous, overwritten; uniforms (row, sample) in double precision.
// Positions (row, sample), the weight at each, and the sum (row, 1).
std::tuple<at::Tensor, at::Tensor, at::Tensor> pick_keys(const at::Tensor& energies, const at::Tensor& uniforms,
                                                         int64_t block) {
  TORCH_CHECK(energies.is_contiguous() && energies.dim() == 2 && uniforms.dim() == 2, "rows are expected");
  const int64_t rows = energies.size(0), keys = energies.size(1), samples = uniforms.size(1);
  const int64_t blocks = (keys + block - 1) / block;
  auto given = uniforms.contiguous();
  auto position = at::empty({rows, samples}, given.options().dtype(at::kLong));
  auto chosen = at::empty({rows, samples}, energies.options());
  auto total = at::empty({rows, 1}, given.options());
  float* all = energies.data_ptr<float>();
  const double* uniform = given.const_data_ptr<double>();
  int64_t* positions = position.data_ptr<int64_t>();
  float* weights = chosen.data_ptr<float>();
  double* totals = total.data_ptr<double>();
  at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(keys, 1)), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(blocks);
    for (int64_t row = begin; row < end; row++) {
      float* mine = all + row * keys;
      double sum = 0.0;
      for (int64_t b = 0; b < blocks; b++) {
        sums[b] = exponentiated(mine + b * block, std::min(block, keys - b * block));
        sum += sums[b];
      }
      totals[row] = sum;
      for (int64_t s = row * samples; s < (row + 1) * samples; s++) {
        double goal = uniform[s] * sum;
        const int64_t b = passed(sums.data(), blocks, goal);
        const int64_t i = b * block + passed(mine + b * block, std::min(block, keys - b * block), goal);
        positions[s] = i;
        weights[s] = keys ? mine[i] : 0.0f;
      }
    }
  });
  return {position, chosen, total};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def("pick_keys(Tensor(a!) energies, Tensor uniforms, int block) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) { m.impl("pick_keys", &pick_keys); }
