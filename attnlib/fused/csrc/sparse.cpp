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

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty_like.h>

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

// The largest entry; NaN if there is one. Of long rows also the largest of every `heads`-th entry.
template <typename T>
constexpr int64_t heads = 4 * Vec<T>::size();

template <typename T>
T largest(const T* row, int64_t n, T* tops) {
  constexpr int64_t step = Vec<T>::size();
  const auto keep_nan = [](T a, T b) { return std::isnan(a) || a > b ? a : b; };
  T top = row[0];
  int64_t i = 0;
  if (n >= heads<T>) {
    Vec<T> lanes[4];
    for (int j = 0; j < 4; ++j) lanes[j] = Vec<T>::loadu(row + j * step);
    for (i = heads<T>; i + heads<T> <= n; i += heads<T>)
      for (int j = 0; j < 4; ++j) lanes[j] = at::vec::maximum(lanes[j], Vec<T>::loadu(row + i + j * step));
    for (int j = 0; j < 4; ++j) lanes[j].store(tops + j * step);
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
// what is kept go by whole vectors. `out` may be `in`. Where they stood, if `places` is not null.
template <typename T, typename F>
int64_t gather(const T* in, int64_t n, T limit, T* out, F f, int32_t* places = nullptr) {
  constexpr int64_t step = Vec<T>::size();
  const Vec<T> limits(limit);
  int64_t kept = 0, i = 0;
  T x[step];
  for (; i + step <= n; i += step) {
    const auto here = f(Vec<T>::loadu(in + i));
    if (!any_above(here, limits)) continue;
    here.store(x);
    if (places != nullptr) {
      int64_t at = kept;
      for (int j = 0; j < step; ++j) {
        places[at] = int32_t(i + j);
        at += x[j] > limit;
      }
    }
    for (int j = 0; j < step; ++j) {  // no branch: the store is overwritten where the entry is not kept
      out[kept] = x[j];
      kept += x[j] > limit;
    }
  }
  for (; i < n; ++i) {
    if (places != nullptr) places[kept] = int32_t(i);
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

// tau from one below it, where q = 1: the mean of the support less its share of one, until the support stands.
template <typename T>
double threshold_one(T* x, int64_t n, double tau) {
  for (int64_t before = -1;;) {
    const auto sum = moments(x, n, T(tau));
    const double next = T(tau) + (sum.first - 1) / sum.size;
    if (sum.size == before || !(next > tau)) return next;
    n = narrowed(x, n, sum.size, T(tau));
    tau = next, before = sum.size;
  }
}

// The same where q = 2, by Newton on the norm; in closed form once the support stands and lies above it.
template <typename T>
double threshold_two(T* x, int64_t n, double tau) {
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

// u ^ power: by multiplication where the power is a few halves, else by logarithm and exponential. With the digits of a
// ratio u - 1, where it is given. What is not above nought is taken as the smallest number, and must be masked.
template <typename T>
struct Power {
  explicit Power(double power) : power(T(power)) {
    const double twice = std::round(2 * power);
    if (twice >= 0 && twice < 16 && std::abs(2 * power - twice) < 1e-14 * (1 + twice)) halves = int(twice);
  }

  Vec<T> operator()(Vec<T> u, const Vec<T>* ratio = nullptr) const {
    u = at::vec::clamp_min(u, Vec<T>(std::numeric_limits<T>::min()));
    if (halves < 0) return general(u, ratio);
    auto result = halves % 2 ? u.sqrt() : Vec<T>(1);
    for (int i = 1; i < halves; i += 2) result = result * u;
    return result;
  }

  T power;
  int halves = -1;

 private:
  // log2(1 + f) = f L(f), 2 ^ f = 1 + f E(f): both to a rounding.
  Vec<T> general(Vec<T> u, const Vec<T>* ratio) const {
    if constexpr (std::is_same_v<T, double>) {
      return ((ratio ? ratio->log1p() : u.log()) * Vec<T>(power)).exp();
    } else {
      using Int = at::vec::Vectorized<int32_t>;
      const auto bits = at::vec::cast<int32_t>(u);
      const auto exponent = (bits - Int(0x3f3504f3)) >> Int(23);
      const auto mantissa = at::vec::cast<float>(bits - (exponent << Int(23)));
      auto f = mantissa - Vec<T>(1);
      if (ratio) f = Vec<T>::blendv(f, *ratio, *ratio > Vec<T>(-0.25f));
      const auto log = at::vec::fmadd(
          f, polynomial(f, {0.1292643f, -0.20893382f, 0.21521226f, -0.23867568f, 0.2879391f, -0.36071625f, 0.48091027f,
                            -0.72134721f, 1.442695f}),
          at::vec::convert_to_fp_of_same_size<float>(exponent));
      const auto z = at::vec::clamp_min(log * Vec<T>(power), Vec<T>(-126));
      const auto whole = z.round();
      const auto part = z - whole;
      const auto scale =
          at::vec::cast<float>((at::vec::convert_to_int_of_same_size<float>(whole) + Int(127)) << Int(23));
      return scale * polynomial(part, {0.0013264727f, 0.0096715130f, 0.055507336f, 0.24022242f, 0.693147f, 1});
    }
  }

  template <size_t count>
  static Vec<T> polynomial(Vec<T> x, const T (&coefficients)[count]) {
    Vec<T> result(coefficients[0]);
    for (size_t i = 1; i < count; ++i) result = at::vec::fmadd(result, x, Vec<T>(coefficients[i]));
    return result;
  }
};

// Sums over i of u_i ^ power, of its quotient by u_i, and (for powers from 2 on) of that by u_i ^ 2.
struct Sums {
  double zero, one, two;
};

// The unknown: rho, the logarithm of the largest weight, and 1 / s, where s = -tau = e ^ (rho / power).
struct Place {
  double rho = 0, share = 1;
};

// p_i(rho) = e ^ rho (1 + x_i / s) ^ power: the root of log sum p(rho) = 0.
template <typename T>
struct Root {
  explicit Root(double power) : power(power), order(power >= 2 ? 2 : 1), even(-std::expm1(-std::log(double(heads<T>)) / power)), raise(power - order) {}

  // The weights without e ^ rho, and their sums.
  Sums weigh(const T* x, int64_t n, const Place& place, T* weights) const {
    constexpr int64_t step = Vec<T>::size();
    const Vec<T> share(place.share), none(0), whole(1);
    Vec<T> zero(0), one(0), two(0);
    for (int64_t i = 0; i < n; i += step) {
      const auto ratio = Vec<T>::loadu(x + i) * share;
      const auto u = at::vec::clamp_min(whole + ratio, none);  // minus infinity, among the heads of a row, included
      const auto least = Vec<T>::blendv(none, raise(u, &ratio), u > none);
      const auto less = order == 2 ? least * u : least, weight = less * u;
      weight.store(weights + i);
      zero = zero + weight, one = one + less, two = two + least;
    }
    return {double(total(zero)), double(total(one)), double(total(two))};
  }

  // One step on the norm (sum [x - tau]_+ ^ power) ^ (1 / power), which for powers from 1 on is convex in tau: Newton's
  // ends below the root wherever it starts, Halley's is nearer.
  Place step(const Place& place, const Sums& sums, bool by_halley) const {
    const T over = -std::expm1(-T((place.rho + std::log(sums.zero)) / power));
    double leap = sums.zero / sums.one * over;
    if (by_halley && order == 2) {
      const double bend = sums.two * sums.zero / (sums.one * sums.one) - 1;
      leap /= std::max(1 - over * (power - 1) * bend / 2, 0.5);
    }
    return {place.rho + power * std::log1p(-leap), place.share / (1 - leap)};
  }

  double power;
  int order;
  double even;  // how far above -1 the threshold of so many equal entries lies
  Power<T> raise;
};

// The weights of x by Halley's method, in a bracket that is halved where it leaps out.
template <typename T>
void solve(const Root<T>& root, const T* x, int64_t n, Place place, T* weights) {
  double low = -std::log(double(n)), high = 0, sum;
  const double eps = std::numeric_limits<T>::epsilon();
  for (bool near = false;;) {
    const auto sums = root.weigh(x, n, place, weights);
    sum = sums.zero;
    const double error = place.rho + std::log(sum);
    if (std::abs(error) <= 4 * eps || (near && std::abs(error) <= 64 * eps)) break;  // the sum itself is rounded
    near = std::abs(error) <= 64 * eps;
    (error > 0 ? high : low) = place.rho;
    if (high - low <= 2 * eps * std::max(1.0, std::abs(place.rho))) break;
    place = root.step(place, sums, true);
    if (!(place.rho > low && place.rho < high)) {
      place.rho = (low + high) / 2;
      place.share = std::exp(-place.rho / root.power);
    }
  }
  const Vec<T> share(1 / sum);
  for (int64_t i = 0; i < n; i += Vec<T>::size()) (Vec<T>::loadu(weights + i) * share).store(weights + i);
}

// What the threshold of the row does not lie below: that of its heads, fewer entries with less to share, which itself
// does not lie below what it were if all of them were at their mean. Long rows are worth its search.
template <typename T>
T bound(T* tops, bool is_long, double alpha, const Scaled<T>& scaled, const Root<T>& root, Place* place) {
  Vec<T> sum(0);
  for (int64_t i = 0; i < heads<T>; i += Vec<T>::size()) {
    const auto x = scaled(Vec<T>::loadu(tops + i));
    x.store(tops + i);
    sum = sum + x;
  }
  const double above = std::max(root.even + total(sum) / heads<T>, 0.0);
  double tau = above - 1;
  if (alpha == 2) {
    if (is_long) tau = threshold_one(tops, heads<T>, tau);
  } else if (alpha == 1.5) {
    if (is_long) tau = threshold_two(tops, heads<T>, tau);
  } else {
    T weights[heads<T>];
    *place = {root.power * std::log1p(-above), 1 / (1 - above)};
    if (is_long) *place = root.step(*place, root.weigh(tops, heads<T>, *place, weights), false);
    tau = -1 / place->share;
  }
  return T(tau - 64 * std::numeric_limits<T>::epsilon());
}

// Room for what one row needs.
template <typename T>
struct Room {
  explicit Room(int64_t n) : x(n + Vec<T>::size() + 1), weights(x.size()), places(x.size()) {}
  std::vector<T> x, weights;
  std::vector<int32_t> places;
};

template <typename T>
void weigh(const T* row, int64_t n, double alpha, double temperature, const Root<T>& root, Room<T>& room, T* out) {
  T tops[heads<T>];
  const T top = largest(row, n, tops);
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
  Place place;
  const T limit = n >= 2 * heads<T> && alpha <= 2 ? bound(tops, n >= 16 * heads<T>, alpha, scaled, root, &place) : T(-1);
  const bool quick = alpha == 2 || alpha == 1.5;
  const int64_t kept = gather(row, n, limit, room.x.data(), scaled, quick ? nullptr : room.places.data());
  if (quick) {
    const bool squared = alpha == 1.5;
    const T tau = squared ? threshold_two(room.x.data(), kept, -1) : threshold_one(room.x.data(), kept, -1);
    int64_t i = 0;
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
  solve(root, room.x.data(), kept, place, room.weights.data());
  if (kept == n) {
    std::copy_n(room.weights.data(), n, out);
    return;
  }
  std::fill(out, out + n, T(0));
  for (int64_t i = 0; i < kept; ++i) out[room.places[i]] = room.weights[i];
}

// s = p ^ (2 - alpha) on the support, 0 elsewhere
template <typename T, int kind>
Vec<T> slope(Vec<T> p, const Power<T>& raise) {
  const Vec<T> zero(0);
  const auto inside = p > zero;
  if constexpr (kind == 2) return Vec<T>::blendv(zero, Vec<T>(1), inside);
  if constexpr (kind == 1) return p.sqrt();
  if (!any_above(p, zero)) return zero;
  return Vec<T>::blendv(zero, raise(p), inside);
}

template <typename T, int kind>
T slope(T p, const Power<T>& raise) {
  if constexpr (kind == 2) return p > T(0) ? T(1) : T(0);
  if constexpr (kind == 1) return std::sqrt(p);
  return p > T(0) ? std::pow(p, raise.power) : T(0);
}

template <typename T, int kind>
void unweigh(const T* weights, const T* upstream, int64_t n, const Power<T>& raise, T temperature, T* out) {
  constexpr int64_t step = Vec<T>::size();
  Vec<T> sums(0), products(0);
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto p = Vec<T>::loadu(weights + i);
    const auto s = slope<T, kind>(p, raise);
    sums = sums + s;
    products = at::vec::fmadd(s, Vec<T>::loadu(upstream + i), products);
    if constexpr (kind == 0) s.store(out + i);
  }
  double sum = total(sums), product = total(products);
  for (; i < n; ++i) {
    const T s = slope<T, kind>(weights[i], raise);
    sum += s;
    product += s * upstream[i];
    if constexpr (kind == 0) out[i] = s;
  }
  const T mean = sum == 0 ? T(0) : T(product / sum);
  for (i = 0; i + step <= n; i += step) {
    const auto s = kind == 0 ? Vec<T>::loadu(out + i) : slope<T, kind>(Vec<T>::loadu(weights + i), raise);
    const auto g = s * (Vec<T>::loadu(upstream + i) - Vec<T>(mean));
    (temperature == T(1) ? g : g / Vec<T>(temperature)).store(out + i);
  }
  for (; i < n; ++i) {
    const T s = kind == 0 ? out[i] : slope<T, kind>(weights[i], raise);
    out[i] = s * (upstream[i] - mean) / temperature;
  }
}

int64_t grain(int64_t n) {
  constexpr int64_t usual = 32768;  // at::internal::GRAIN_SIZE, without the large header that has it
  return std::max<int64_t>(1, usual / std::max<int64_t>(n, 1));
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
      const Root<scalar_t> root(1 / (alpha - 1));
      Room<scalar_t> room(n);
      for (int64_t i = first; i < last; ++i)
        weigh<scalar_t>(in + i * n, n, alpha, temperature, root, room, out + i * n);
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
    const Power<scalar_t> power(2 - alpha);
    const scalar_t T = temperature;
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
