// Which messages are wanted: a level for all, and others for folders of the
// source, as in "info,io=debug,restart=warning".
//
// A message belongs to the folder of the file that makes it, or to the one
// that it is about. Folders that are not in the list count as daemon.
#ifndef HANDLEFS_DAEMON_LOG_LEVELS_H_
#define HANDLEFS_DAEMON_LOG_LEVELS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace handlefs {

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };
enum class LogFolder : uint8_t {
  kDaemon,
  kRestart,
  kControl,
  kIo,
  kHandles,
  kProto
};
inline constexpr size_t kLogFolders = 6;

std::string_view WordOf(LogLevel level);
std::string_view WordOf(LogFolder folder);
// "../daemon/restart/keeper.cc" is of kRestart.
LogFolder FolderOf(std::string_view source_file);
std::optional<LogFolder> FindLogFolder(std::string_view word);

class LogLevels {
 public:
  // Not explicit: one level for all is the usual thing.
  LogLevels(LogLevel everywhere = LogLevel::kInfo)  // NOLINT
      : everywhere_(everywhere) {}

  // On error `out` is as it was; INVALID_ARGUMENT names the word and the cure.
  static absl::Status Parse(LogLevels& out, std::string_view text);

  LogLevel Of(LogFolder folder) const {
    return folders_[static_cast<size_t>(folder)].value_or(everywhere_);
  }
  bool operator==(const LogLevels&) const = default;

 private:
  LogLevel everywhere_;
  std::array<std::optional<LogLevel>, kLogFolders> folders_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOG_LEVELS_H_
