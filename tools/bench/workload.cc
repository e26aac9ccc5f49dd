#include "workload.h"

#include <fnmatch.h>

#include <algorithm>

namespace handlefs::bench {

std::vector<Workload> AllWorkloads(const Knobs& knobs) {
  std::vector<Workload> all = CallWorkloads();
  for (auto part : {WalkWorkloads(knobs), TreeWorkloads(), DataWorkloads()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::variant<std::vector<Workload>, std::string> SelectWorkloads(
    std::vector<Workload> all, const std::vector<std::string>& words) {
  std::vector<std::string> wanted = words;
  if (wanted.empty()) wanted.push_back("default");
  std::vector<bool> taken(all.size());
  for (const std::string& word : wanted) {
    bool fits = false;
    for (size_t i = 0; i < all.size(); ++i) {
      const Workload& workload = all[i];
      bool named = word == "all" || word == workload.info.group ||
                   fnmatch(word.c_str(), workload.info.name.c_str(), 0) == 0 ||
                   (word == "default" &&
                    workload.by_default == Workload::Default::kRuns);
      taken[i] = taken[i] || named;
      fits = fits || named;
    }
    if (!fits) return word;
  }
  std::vector<Workload> chosen;
  for (size_t i = 0; i < all.size(); ++i) {
    if (taken[i]) chosen.push_back(std::move(all[i]));
  }
  return chosen;
}

double InUnit(const WorkloadInfo& info, double nanoseconds) {
  return info.unit == "ms" ? nanoseconds / 1e6 : nanoseconds / 1e3;
}

}  // namespace handlefs::bench
