#include "daemon/log_levels.h"

#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

constexpr std::string_view kLevels[] = {"error", "warning", "info", "debug"};
constexpr std::string_view kFolders[] = {"daemon", "restart", "control",
                                         "io",     "handles", "proto"};
static_assert(std::size(kFolders) == kLogFolders);

std::optional<LogLevel> FindLevel(std::string_view word) {
  for (size_t i = 0; i < std::size(kLevels); ++i) {
    if (kLevels[i] == word) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

template <size_t N>
std::string List(const std::string_view (&words)[N]) {
  std::string list;
  for (std::string_view word : words) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", std::string(word));
  }
  return list;
}

absl::Status BadWord(std::string_view word, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(word), "' ", why));
}

}  // namespace

std::string_view WordOf(LogLevel level) {
  return kLevels[static_cast<size_t>(level)];
}

std::string_view WordOf(LogFolder folder) {
  return kFolders[static_cast<size_t>(folder)];
}

std::optional<LogFolder> FindLogFolder(std::string_view word) {
  for (size_t i = 0; i < kLogFolders; ++i) {
    if (kFolders[i] == word) return static_cast<LogFolder>(i);
  }
  return std::nullopt;
}

LogFolder FolderOf(std::string_view source_file) {
  while (!source_file.empty()) {
    size_t slash = source_file.rfind('/');
    source_file =
        source_file.substr(0, slash == std::string_view::npos ? 0 : slash);
    std::string_view name = source_file.substr(source_file.rfind('/') + 1);
    if (auto folder = FindLogFolder(name)) return *folder;
  }
  return LogFolder::kDaemon;
}

absl::Status LogLevels::Parse(LogLevels& out, std::string_view text) {
  LogLevels levels;
  bool has_default = false;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    const size_t equals = word.find('=');
    auto level = FindLevel(
        equals == std::string_view::npos ? word : word.substr(equals + 1));
    if (!level) {
      return BadWord(word, absl::StrCat("is not one of ", List(kLevels),
                                        ", or FOLDER=LEVEL of them"));
    }
    if (equals == std::string_view::npos) {
      if (has_default) {
        return BadWord(word,
                       "is a second level for all; give one, and "
                       "FOLDER=LEVEL for others");
      }
      has_default = true;
      levels.everywhere_ = *level;
    } else {
      auto folder = FindLogFolder(word.substr(0, equals));
      if (!folder) {
        return BadWord(
            word, absl::StrCat("is of no folder; there are ", List(kFolders)));
      }
      levels.folders_[static_cast<size_t>(*folder)] = *level;
    }
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  out = levels;
  return absl::OkStatus();
}

}  // namespace handlefs
