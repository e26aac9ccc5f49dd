#include "statistics.h"

#include <algorithm>

namespace handlefs::bench {

std::optional<Spread> SpreadOf(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  double median = values.size() % 2 != 0
                      ? values[middle]
                      : (values[middle - 1] + values[middle]) / 2;
  return Spread{.median = median,
                .min = values.front(),
                .max = values.back(),
                .count = values.size()};
}

std::vector<double> RatiosTo(const Cell& base, const Cell& cell) {
  std::vector<double> ratios;
  for (const Sample& sample : cell.samples) {
    for (const Sample& other : base.samples) {
      if (other.repetition == sample.repetition && other.value > 0) {
        ratios.push_back(sample.value / other.value);
      }
    }
  }
  return ratios;
}

std::vector<double> ValuesOf(const Cell& cell) {
  std::vector<double> values;
  for (const Sample& sample : cell.samples) values.push_back(sample.value);
  return values;
}

std::vector<double> ServerCpuOf(const Cell& cell) {
  std::vector<double> values;
  for (const Sample& sample : cell.samples) {
    values.push_back(sample.server_cpu_us);
  }
  return values;
}

std::vector<double> ExtraOf(const Cell& cell, const std::string& name) {
  std::vector<double> values;
  for (const Sample& sample : cell.samples) {
    auto found = sample.extra.find(name);
    if (found != sample.extra.end()) values.push_back(found->second);
  }
  return values;
}

std::vector<size_t> Rotated(size_t count, size_t turn) {
  std::vector<size_t> order;
  for (size_t i = 0; i < count; ++i) order.push_back((i + turn) % count);
  return order;
}

}  // namespace handlefs::bench
