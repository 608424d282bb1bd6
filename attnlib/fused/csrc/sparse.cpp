// Sparse distributions over the last axis without a sort, forward and backward.
//
// With x = (alpha - 1) (e - max e) / T and q = 1 / (alpha - 1), the weights are p = [x - tau]_+ ^ q, and tau lies
// between -1 and 0. So only entries with x > -1 can have weight: they are gathered once, most often a few of a long row.
// Then tau rises from -1 by Newton's method, and what it passes is dropped for good: for q >= 1 the norm
// (sum [x - tau]_+^q)^(1/q) is convex and falls, so that Newton stays below the root. Once nothing is dropped any more
// the support is known, and tau follows from it in closed form (q = 1, 2). For other q the unknown is rho, the
// logarithm of the largest weight, tau = -exp(rho / q), which keeps its digits as alpha tends to 1; Newton is kept
// within a bracket there, for with q < 1 it may leap.

#include <torch/library.h>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

template <typename T>
using Vec = at::vec::Vectorized<T>;

// What makes x out of an energy; the divisions of the reference, in its order, so that ties stay ties.
template <typename T>
struct Scaled {
  T top, temperature, order;
  Vec<T> operator()(Vec<T> energy) const {
    auto x = energy - Vec<T>(top);
    if (temperature != T(1)) x = x / Vec<T>(temperature);
    return order == T(1) ? x : x * Vec<T>(order);
  }
  T operator()(T energy) const {
    T x = energy - top;
    if (temperature != T(1)) x = x / temperature;
    return order == T(1) ? x : x * order;
  }
};

template <typename T, typename F>
T reduced(Vec<T> lanes, F combine) {
  T kept[Vec<T>::size()];
  lanes.store(kept);
  T result = kept[0];
  for (int i = 1; i < Vec<T>::size(); ++i) result = combine(result, kept[i]);
  return result;
}

template <typename T>
T total(Vec<T> lanes) {
  return reduced(lanes, [](T a, T b) { return a + b; });
}

// The largest entry; NaN if there is one.
template <typename T>
T largest(const T* row, int64_t n) {
  constexpr int64_t step = Vec<T>::size();
  const auto keep_nan = [](T a, T b) { return std::isnan(a) || a > b ? a : b; };
  T top = row[0];
  int64_t i = 0;
  if (n >= 4 * step) {
    Vec<T> lanes[4];
    for (int j = 0; j < 4; ++j) lanes[j] = Vec<T>::loadu(row + j * step);
    for (i = 4 * step; i + 4 * step <= n; i += 4 * step)
      for (int j = 0; j < 4; ++j) lanes[j] = at::vec::maximum(lanes[j], Vec<T>::loadu(row + i + j * step));
    for (int j = 1; j < 4; ++j) lanes[0] = at::vec::maximum(lanes[0], lanes[j]);
    top = reduced(lanes[0], keep_nan);
  }
  for (; i < n; ++i) top = keep_nan(top, row[i]);
  return top;
}

template <typename T>
bool any_above(Vec<T> x, Vec<T> limit) {
  return (x > limit).zero_mask() != (1 << Vec<T>::size()) - 1;
}

// Those of x = f(in) that lie above the limit, in order, and a vector of -2 behind them, which has no weight: loops over
// what is kept go by whole vectors. `out` may be `in`.
template <typename T, typename F>
int64_t gather(const T* in, int64_t n, T limit, T* out, F f) {
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> limits(limit);
  int64_t kept = 0, i = 0;
  T x[step];
  for (; i + step <= n; i += step) {
    const auto here = f(Vec<T>::loadu(in + i));
    if (!any_above(here, limits)) continue;
    here.store(x);
    for (int j = 0; j < step; ++j) {  // no branch: the store is overwritten where the entry is not kept
      out[kept] = x[j];
      kept += x[j] > limit;
    }
  }
  for (; i < n; ++i) {
    out[kept] = f(in[i]);
    kept += out[kept] > limit;
  }
  Vec<T>(-2).store(out + kept);
  return kept;
}

struct Same {
  template <typename X>
  X operator()(X x) const {
    return x;
  }
};

struct Moments {
  double first, second;
  int64_t size;
};

// Over the entries above the origin: the sum of their distances, of the squares of these, and how many there are.
template <typename T>
Moments moments(const T* x, int64_t n, T origin) {
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> origins(origin), zero(0);
  Vec<T> first(0), second(0), size(0);
  for (int64_t i = 0; i < n; i += step) {
    const auto here = Vec<T>::loadu(x + i);
    const auto u = at::vec::maximum(here - origins, zero);
    first = first + u;
    second = at::vec::fmadd(u, u, second);
    size = size + Vec<T>::blendv(zero, Vec<T>(1), here > origins);
  }
  return {double(total(first)), double(total(second)), int64_t(total(size))};
}

// Drop what lies below a bound of the threshold, where that is worth the pass.
template <typename T>
int64_t narrowed(T* x, int64_t n, int64_t size, T bound) {
  return n > 256 && 2 * size < n ? gather(x, n, bound, x, Same()) : n;
}

// tau where q = 1: the mean of the support less its share of one, until the support stands.
template <typename T>
double threshold_one(T* x, int64_t n) {
  double tau = -1;
  for (int64_t before = -1;;) {
    const auto sum = moments(x, n, T(tau));
    const double next = T(tau) + (sum.first - 1) / sum.size;
    if (sum.size == before || !(next > tau)) return next;
    n = narrowed(x, n, sum.size, T(tau));
    tau = next, before = sum.size;
  }
}

// tau where q = 2, by Newton on the norm; in closed form once the support stands and lies above it.
template <typename T>
double threshold_two(T* x, int64_t n) {
  double tau = -1;
  for (int64_t before = -1;;) {
    const auto sum = moments(x, n, T(tau));
    const double norm = std::sqrt(sum.second), next = T(tau) + norm * (norm - 1) / sum.first;
    const bool stands = !(next > tau + std::numeric_limits<T>::epsilon() / 8);
    if (sum.size == before || stands) {
      const double mean = sum.first / sum.size, spread = sum.second - sum.first * mean;
      const double exact = T(tau) + mean - std::sqrt(std::max(1 - spread, 0.0) / sum.size);
      if (stands || moments(x, n, T(exact)).size == sum.size) return exact;
    }
    n = narrowed(x, n, sum.size, T(tau));
    tau = next, before = sum.size;
  }
}

// largest (1 + ratio) ^ power where 1 + ratio > 0, else 0
template <typename T>
Vec<T> raised(Vec<T> ratio, T largest, T power) {
  const Vec<T> none(-1);
  const auto inside = ratio > none;
  const auto safe = Vec<T>::blendv(Vec<T>(0), ratio, inside);
  return Vec<T>::blendv(Vec<T>(0), (safe.log1p() * Vec<T>(power)).exp() * Vec<T>(largest), inside);
}

template <typename T>
T raised(T ratio, T largest, T power) {
  return ratio > T(-1) ? std::exp(std::log1p(ratio) * power) * largest : T(0);
}

// sum of the weights at rho, and its derivative
template <typename T>
std::pair<double, double> mass(const T* x, int64_t n, double rho, double power) {
  constexpr int64_t step = Vec<T>::size();
  const T share = std::exp(-rho / power), largest = std::exp(rho);
  Vec<T> first(0), second(0);
  for (int64_t i = 0; i < n; i += step) {
    const auto ratio = Vec<T>::loadu(x + i) * Vec<T>(share);
    const auto p = raised(ratio, largest, T(power));
    const auto inside = ratio > Vec<T>(-1);
    first = first + p;
    second = second + Vec<T>::blendv(Vec<T>(0), p / (Vec<T>(1) + ratio), inside);
  }
  return {double(total(first)), double(total(second))};
}

// rho for any q: Newton on the norm, halving the bracket where it leaves it.
template <typename T>
double log_largest(T* x, int64_t n, double power) {
  double low = -std::log(double(n)), high = 0, rho = 0;
  // Where Newton squares the error the step that is found to be so short is taken; with q < 1 it need not.
  const double eps = std::numeric_limits<T>::epsilon(), enough = power >= 1 ? std::pow(eps, 0.6) : 2 * eps;
  while (true) {
    const auto [one, two] = mass(x, n, rho, power);
    if (one >= 1) {
      high = rho;
      n = gather(x, n, T(-std::exp(rho / power)), x, Same());
    } else {
      low = rho;
    }
    const double log_total = std::log(one) - rho;  // of (1 + x / s) ^ q, of which `two` over the largest is the slope
    const double leap = std::expm1(std::log(one) / power) * std::exp((1 - 1 / power) * log_total) *
        std::exp(rho * (1 - 1 / power)) / two;
    double next = rho + power * std::log1p(-leap);
    const double middle = (low + high) / 2;
    if (!(next >= low && next <= high)) next = middle;
    if (std::abs(next - rho) <= enough || high - low <= 2 * eps * std::max(1.0, std::abs(rho))) return next;
    if (next == low || next == high) next = middle;
    rho = next;
  }
}

template <typename T>
void weigh(const T* row, int64_t n, double alpha, double temperature, T* buffer, T* out) {
  const T top = largest(row, n);
  if (!(top < std::numeric_limits<T>::infinity())) {  // NaN, or plus infinity
    std::fill(out, out + n, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  if (top == -std::numeric_limits<T>::infinity()) {
    std::fill(out, out + n, T(0));
    return;
  }
  constexpr int64_t step = Vec<T>::size();
  const Scaled<T> scaled{top, T(temperature), T(alpha - 1)};
  const int64_t kept = gather(row, n, T(-1), buffer, scaled);
  int64_t i = 0;
  if (alpha == 2 || alpha == 1.5) {
    const bool squared = alpha == 1.5;
    const T tau = squared ? threshold_two(buffer, kept) : threshold_one(buffer, kept);
    for (; i + step <= n; i += step) {
      const auto u = at::vec::maximum(scaled(Vec<T>::loadu(row + i)) - Vec<T>(tau), Vec<T>(0));
      (squared ? u * u : u).store(out + i);
    }
    for (; i < n; ++i) {
      const T u = std::max(scaled(row[i]) - tau, T(0));
      out[i] = squared ? u * u : u;
    }
    return;
  }
  const double power = 1 / (alpha - 1), rho = log_largest(buffer, kept, power);
  const T share = std::exp(-rho / power), most = std::exp(rho);
  const Vec<T> none(-1);
  for (; i + step <= n; i += step) {
    const auto ratio = scaled(Vec<T>::loadu(row + i)) * Vec<T>(share);
    (any_above(ratio, none) ? raised(ratio, most, T(power)) : Vec<T>(0)).store(out + i);
  }
  for (; i < n; ++i) out[i] = raised(scaled(row[i]) * share, most, T(power));
}

// s = p ^ (2 - alpha) on the support, 0 elsewhere
template <typename T, int kind>
Vec<T> slope(Vec<T> p, T power) {
  const Vec<T> zero(0);
  const auto inside = p > zero;
  if constexpr (kind == 2) return Vec<T>::blendv(zero, Vec<T>(1), inside);
  if constexpr (kind == 1) return p.sqrt();
  if (!any_above(p, zero)) return zero;
  const auto safe = Vec<T>::blendv(Vec<T>(1), p, inside);
  return Vec<T>::blendv(zero, (safe.log() * Vec<T>(power)).exp(), inside);
}

template <typename T, int kind>
T slope(T p, T power) {
  if constexpr (kind == 2) return p > T(0) ? T(1) : T(0);
  if constexpr (kind == 1) return std::sqrt(p);
  return p > T(0) ? std::exp(std::log(p) * power) : T(0);
}

template <typename T, int kind>
void unweigh(const T* weights, const T* upstream, int64_t n, T power, T temperature, T* out) {
  constexpr int64_t step = Vec<T>::size();
  Vec<T> sums(0), products(0);
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto p = Vec<T>::loadu(weights + i);
    const auto s = slope<T, kind>(p, power);
    sums = sums + s;
    products = at::vec::fmadd(s, Vec<T>::loadu(upstream + i), products);
    if constexpr (kind == 0) s.store(out + i);
  }
  double sum = total(sums), product = total(products);
  for (; i < n; ++i) {
    const T s = slope<T, kind>(weights[i], power);
    sum += s;
    product += s * upstream[i];
    if constexpr (kind == 0) out[i] = s;
  }
  const T mean = sum == 0 ? T(0) : T(product / sum);
  for (i = 0; i + step <= n; i += step) {
    const auto s = kind == 0 ? Vec<T>::loadu(out + i) : slope<T, kind>(Vec<T>::loadu(weights + i), power);
    const auto g = s * (Vec<T>::loadu(upstream + i) - Vec<T>(mean));
    (temperature == T(1) ? g : g / Vec<T>(temperature)).store(out + i);
  }
  for (; i < n; ++i) {
    const T s = kind == 0 ? out[i] : slope<T, kind>(weights[i], power);
    out[i] = s * (upstream[i] - mean) / temperature;
  }
}

int64_t grain(int64_t n) {
  return std::max<int64_t>(1, at::internal::GRAIN_SIZE / std::max<int64_t>(n, 1));
}

at::Tensor forward(const at::Tensor& energies, double alpha, double temperature) {
  const auto from = energies.contiguous();
  auto weights = at::empty_like(from);
  const int64_t n = from.size(-1);
  if (from.numel() == 0) return weights;
  AT_DISPATCH_FLOATING_TYPES(from.scalar_type(), "attnlib::entmax", [&] {
    const auto* in = from.const_data_ptr<scalar_t>();
    auto* out = weights.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, from.numel() / n, grain(n), [&](int64_t first, int64_t last) {
      std::vector<scalar_t> buffer(n + Vec<scalar_t>::size() + 1);
      for (int64_t i = first; i < last; ++i)
        weigh<scalar_t>(in + i * n, n, alpha, temperature, buffer.data(), out + i * n);
    });
  });
  return weights;
}

at::Tensor backward(const at::Tensor& weights, const at::Tensor& upstream, double alpha, double temperature) {
  const auto from = weights.contiguous(), above = upstream.contiguous();
  auto result = at::empty_like(from);
  const int64_t n = from.size(-1);
  if (from.numel() == 0) return result;
  AT_DISPATCH_FLOATING_TYPES(from.scalar_type(), "attnlib::entmax_backward", [&] {
    const auto* p = from.const_data_ptr<scalar_t>();
    const auto* g = above.const_data_ptr<scalar_t>();
    auto* out = result.mutable_data_ptr<scalar_t>();
    const scalar_t power = 2 - alpha, T = temperature;
    at::parallel_for(0, from.numel() / n, grain(n), [&](int64_t first, int64_t last) {
      for (int64_t i = first * n; i < last * n; i += n) {
        if (alpha == 2)
          unweigh<scalar_t, 2>(p + i, g + i, n, power, T, out + i);
        else if (alpha == 1.5)
          unweigh<scalar_t, 1>(p + i, g + i, n, power, T, out + i);
        else
          unweigh<scalar_t, 0>(p + i, g + i, n, power, T, out + i);
      }
    });
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(attnlib, m) {
  m.def("entmax(Tensor energies, float alpha, float temperature) -> Tensor");
  m.def("entmax_backward(Tensor weights, Tensor upstream, float alpha, float temperature) -> Tensor");
}

TORCH_LIBRARY_IMPL(attnlib, CPU, m) {
  m.impl("entmax", forward);
  m.impl("entmax_backward", backward);
}
