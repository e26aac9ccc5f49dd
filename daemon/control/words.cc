#include "daemon/control/words.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/control/socket.h"
#include "daemon/log.h"

namespace handlefs {
namespace {

constexpr absl::Duration kDrainTime = absl::Seconds(10);
constexpr uint64_t kMostSeconds = 3600;

std::optional<uint64_t> Number(std::string_view text, int base) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || at != end) return std::nullopt;
  return value;
}

ControlCommand Trace(const std::string& how) {
  if (how == "on") return SwitchTrace{TraceLevel::kLines};
  if (how == "off") return SwitchTrace{TraceLevel::kOff};
  if (how == "follow") return ServerWork{ServerWork::What::kFollow};
  return NoCommand{"trace takes: on, off, follow"};
}

}  // namespace

nlohmann::ordered_json SwitchedTrace(Stats& stats, TraceLevel level) {
  const bool on = level != TraceLevel::kOff;
  const bool was_on = stats.trace() != TraceLevel::kOff;
  // One that was started with the bytes keeps them.
  if (on != was_on) {
    stats.SetTrace(level);
    Log(LogLevel::kInfo, on ? "requests are traced from now on, as told"
                            : "requests are not traced any more, as told");
  }
  nlohmann::ordered_json answer = OkAnswer();
  answer["trace"] = on ? "on" : "off";
  answer["was"] = was_on ? "on" : "off";
  return answer;
}

nlohmann::ordered_json MetricsAnswer(std::string text) {
  nlohmann::ordered_json answer = OkAnswer();
  answer["text"] = std::move(text);
  return answer;
}

std::optional<uint64_t> ParseNode(const std::string& text) {
  std::string_view digits = text;
  if (digits.starts_with('n')) digits.remove_prefix(1);
  if (digits.starts_with("0x")) return Number(digits.substr(2), 16);
  return Number(digits, 10);
}

ControlCommand ParseControl(const std::vector<std::string>& words) {
  const std::string name = words.empty() ? "" : words[0];
  if (words.size() == 1) {
    if (name == "status") return Simple::kStatus;
    if (name == "stats") return Simple::kStats;
    if (name == "metrics") return Simple::kMetrics;
    if (name == "restart") return Simple::kRestart;
    if (name == "abort") return Simple::kAbort;
    if (name == "drop-caches") {
      return ServerWork{ServerWork::What::kDropCaches};
    }
    if (name == "drain") return DrainFor{kDrainTime};
  }
  if (words.size() == 2) {
    if (name == "upgrade") return UpgradeTo{words[1]};
    if (name == "trace") return Trace(words[1]);
    if (name == "path") {
      auto node = ParseNode(words[1]);
      if (!node) {
        return NoCommand{
            "path takes a nodeid as the trace shows it: a number, "
            "decimal or with 0x"};
      }
      return ServerWork{ServerWork::What::kPath, *node};
    }
    if (name == "drain") {
      auto seconds = Number(words[1], 10);
      if (!seconds || *seconds > kMostSeconds) {
        return NoCommand{absl::StrCat(
            "drain takes the seconds to wait, at most ", kMostSeconds)};
      }
      return DrainFor{absl::Seconds(static_cast<int64_t>(*seconds))};
    }
  }
  return NoCommand{
      "the commands are: status, stats, metrics, trace on|off|follow, path "
      "NODEID, drop-caches, drain [SECONDS], restart, upgrade PROGRAM, abort"};
}

}  // namespace handlefs
