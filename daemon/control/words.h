// Commands as words: which there are, and what a server has to do for them.
#ifndef HANDLEFS_DAEMON_CONTROL_WORDS_H_
#define HANDLEFS_DAEMON_CONTROL_WORDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "daemon/stats/stats.h"

namespace handlefs {

// What the server alone can do, on a thread of its own. The numbers stand in
// messages of keepers (restart/messages.h).
struct ServerWork {
  enum class What : uint32_t { kPath = 1, kDropCaches, kFollow };
  What what = What::kPath;
  uint64_t argument = 0;  // of kPath: the nodeid
};
struct SwitchTrace {
  TraceLevel level = TraceLevel::kOff;
};
struct DrainFor {
  absl::Duration limit;
};
enum class Simple { kStatus, kStats, kMetrics, kRestart, kAbort };
struct UpgradeTo {
  std::string program;
};
struct NoCommand {
  std::string why;  // one line
};
using ControlCommand = std::variant<NoCommand, Simple, UpgradeTo, SwitchTrace,
                                    DrainFor, ServerWork>;

ControlCommand ParseControl(const std::vector<std::string>& words);

// Switches it, and answers.
nlohmann::ordered_json SwitchedTrace(Stats& stats, TraceLevel level);
nlohmann::ordered_json MetricsAnswer(std::string text);

// "42", "0x2a", "n42" as in the trace. Nothing: it is none.
std::optional<uint64_t> ParseNode(const std::string& text);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_WORDS_H_
