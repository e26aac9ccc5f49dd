#include "daemon/stats/histogram.h"

#include <algorithm>
#include <numeric>

namespace handlefs {

double Quantile(std::span<const uint64_t, kBuckets> counts, double q) {
  const auto total = static_cast<double>(
      std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  if (total == 0) return 0;
  const double wanted = std::clamp(q, 0.0, 1.0) * total;
  double before = 0;
  for (size_t i = 0; i < kBucketLimits.size(); ++i) {
    const auto here = static_cast<double>(counts[i]);
    if (here > 0 && before + here >= wanted) {
      const double low = i == 0 ? 0 : static_cast<double>(kBucketLimits[i - 1]);
      const auto high = static_cast<double>(kBucketLimits[i]);
      return low + (high - low) * std::max(wanted - before, 0.0) / here;
    }
    before += here;
  }
  return static_cast<double>(kBucketLimits.back());
}

}  // namespace handlefs
