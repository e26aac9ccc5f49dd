// How long requests take, in buckets that never change: 1, 2, 5, 10 us ... 10 s
// and longer. As in Prometheus a bucket has what is not above its limit.
#ifndef HANDLEFS_DAEMON_STATS_HISTOGRAM_H_
#define HANDLEFS_DAEMON_STATS_HISTOGRAM_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace handlefs {

// In nanoseconds; what is longer is in one bucket more.
inline constexpr std::array<uint64_t, 22> kBucketLimits = [] {
  std::array<uint64_t, 22> limits{};
  uint64_t decade = 1000;
  for (size_t i = 0; i < limits.size(); ++i) {
    constexpr uint64_t kSteps[] = {1, 2, 5};
    limits[i] = decade * kSteps[i % 3];
    if (i % 3 == 2) decade *= 10;
  }
  return limits;
}();
inline constexpr size_t kBuckets = kBucketLimits.size() + 1;

constexpr size_t BucketOf(uint64_t nanoseconds) {
  // The first bucket for each number of bits: at most two steps are left.
  constexpr auto kFirst = [] {
    std::array<uint8_t, 65> first{};
    for (size_t bits = 1; bits < first.size(); ++bits) {
      const uint64_t least = uint64_t{1} << (bits - 1);
      uint8_t bucket = 0;
      while (bucket < kBucketLimits.size() && least > kBucketLimits[bucket]) {
        ++bucket;
      }
      first[bits] = bucket;
    }
    return first;
  }();
  size_t bucket = kFirst[static_cast<size_t>(std::bit_width(nanoseconds))];
  while (bucket < kBucketLimits.size() && nanoseconds > kBucketLimits[bucket]) {
    ++bucket;
  }
  return bucket;
}

// The time in nanoseconds that a part `q` (0 to 1) of the requests did not
// exceed, as well as the buckets tell; 0 if there were none. What is in the
// last bucket counts as its lower limit.
double Quantile(std::span<const uint64_t, kBuckets> counts, double q);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_STATS_HISTOGRAM_H_
