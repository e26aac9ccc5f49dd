// The answer to "stats" as a table for people.
#ifndef HANDLEFS_TOOLS_CTL_STATS_TEXT_H_
#define HANDLEFS_TOOLS_CTL_STATS_TEXT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace handlefs::ctl {

std::string StatsText(const nlohmann::ordered_json& answer);

// "1.2 ms"; three digits at the most.
std::string ShortTime(double seconds);
// "1.5 MiB".
std::string ShortBytes(uint64_t bytes);

}  // namespace handlefs::ctl

#endif  // HANDLEFS_TOOLS_CTL_STATS_TEXT_H_
