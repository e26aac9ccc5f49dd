#include "daemon/reload.h"

#include <unistd.h>

#include <map>

#include "daemon/log.h"
#include "daemon/options_table.h"

namespace handlefs {
namespace {

// The last value of each option, "" where it stands alone.
std::map<std::string, std::string> Given(const Options& options) {
  std::map<std::string, std::string> last;
  for (const GivenOption& given : options.given) {
    last[given.name] = given.value.value_or("on");
  }
  return last;
}

}  // namespace

std::string LogTargetOf(const Options& options) {
  if (options.log == "auto") {
    return options.foreground == Switch::kOn ? "stderr" : "syslog";
  }
  const bool is_file = options.log != "stderr" && options.log != "syslog";
  // The daemon leaves the directory in which it was started.
  if (is_file && options.log[0] != '/' && !options.directory.empty()) {
    return options.directory + "/" + options.log;
  }
  return options.log;
}

std::vector<std::string> NeedNewStart(const Options& before,
                                      const Options& after) {
  const auto was = Given(before), is = Given(after);
  std::map<std::string, std::string> all = was;
  all.insert(is.begin(), is.end());
  std::vector<std::string> names;
  for (const auto& [name, value] : all) {
    const OptionRow* row = FindOption(name);
    if (row != nullptr && row->change == OptionChange::kByReload) continue;
    auto old = was.find(name), now = is.find(name);
    if (old != was.end() && now != is.end() && old->second == now->second) {
      continue;
    }
    names.push_back(name);
  }
  return names;
}

absl::StatusOr<std::vector<std::string>> Reload(const Options& options) {
  // Who asks may be looking for them.
  FlushLog();
  std::vector<const char*> arguments;
  for (const std::string& argument : options.command_line) {
    arguments.push_back(argument.c_str());
  }
  auto now = ParseOptions(
      arguments, {.environment = environ, .directory = options.directory});
  if (!now.ok()) return now.status();
  const std::string target = LogTargetOf(options);
  if (target == "stderr" || target == "syslog") {
    SetLogStyle(now->log_level, now->log_format);
  } else if (absl::Status opened =
                 SetLog(target, now->log_level, now->log_format);
             !opened.ok()) {
    return opened;
  }
  return NeedNewStart(options, *now);
}

}  // namespace handlefs
