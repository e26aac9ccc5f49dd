// The options. One table (options_table.h) makes the -o words, the --long
// forms, config files, the environment, the help, the man pages and the
// completions; '-' and '_' in names are the same, the last of repeated options
// wins, and an unknown one is an error that names it.
//
// Later sources win: the defaults, /etc/handlefs/handlefs.conf, the file of
// config=, the environment (HANDLEFS_NAME=value), the command line.
#ifndef HANDLEFS_DAEMON_OPTIONS_H_
#define HANDLEFS_DAEMON_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/log_levels.h"
#include "daemon/log_line.h"
#include "handles/host_fs.h"
#include "handles/source.h"
#include "io/yielding.h"
#include "proto/dialect.h"

namespace handlefs {

enum class Cache { kNone, kAuto, kAlways };
enum class Locks { kHost, kLocal };
enum class Passthrough { kAuto, kOn, kOff };
enum class Transport { kAuto, kDev, kUring };
enum class Offload { kAuto, kAlways, kNever };
enum class Restart { kOff, kBest, kLossless };
enum class Switch { kOff, kOn };
enum class Form { kText, kJson };
enum class Mode { kServe, kHelp, kVersion, kCheck, kPrintConfig };

// One option as somebody gave it.
struct GivenOption {
  std::string name;  // with '_'
  std::optional<std::string> value;
  std::string origin;  // "FILE:LINE", "environment", "command line"

  bool operator==(const GivenOption&) const = default;
};

struct Options {
  Mode mode = Mode::kServe;
  std::string help_topic;         // "", "all", or an option
  Form check_form = Form::kText;  // of --check
  std::string config;             // FILE or NAME
  // As given, for a program that takes this one's place.
  std::vector<std::string> command_line;
  std::string directory;  // in which it was given
  std::string source;
  std::string mount_point;

  // Mount
  uint64_t mount_attributes = 0;  // MOUNT_ATTR_*
  std::string superblock_flags;   // words for fsconfig: "sync,dirsync"
  Switch read_only = Switch::kOff;
  std::optional<Switch> allow_other;  // unset: on for root
  std::optional<Switch> allow_suid;   // unset: on for root, like a bind mount
  std::optional<Switch> allow_dev;
  // Whom the kernel takes for the one who mounted; set by mount.handlefs.
  uint32_t owner_uid = 0;
  uint32_t owner_gid = 0;
  std::string fsname;  // what the mount table shows; the source if empty
  uint32_t max_read = 0;
  Submounts submounts = Submounts::kHide;
  Switch require_mounted_source = Switch::kOff;
  Switch replace_stale = Switch::kOff;

  // Identity
  Identity identity = Identity::kAuto;
  Switch exported = Switch::kOff;
  std::string key_file;

  // Caching and data
  Cache cache = Cache::kAuto;
  double timeout = 1.0;  // seconds, with cache=auto
  Locks locks = Locks::kHost;
  Passthrough passthrough = Passthrough::kAuto;
  uint32_t max_write = 1 << 20;  // bytes

  // Serving
  Transport transport = Transport::kAuto;
  Switch enable_uring = Switch::kOff;
  // Null: from the kernel's INIT and its compounds.
  const proto::Dialect* dialect = &proto::MainlineDialect();
  Offload offload = Offload::kAuto;
  uint32_t threads = 16;
  io::Scheduling scheduling = io::Scheduling::kAuto;
  Restart restart = Restart::kBest;

  // Messages
  Switch foreground = Switch::kOff;
  Switch trace = Switch::kOff;
  std::string log = "auto";
  LogLevels log_level;
  LogFormat log_format = LogFormat::kAuto;
  std::string metrics_file;  // empty: none

  // In the order in which they took effect.
  std::vector<GivenOption> given;

  bool operator==(const Options&) const = default;
};

// What else than the command line has a say.
struct Surroundings {
  std::string config_dir = "/etc/handlefs";  // empty: no config files at all
  const char* const* environment = nullptr;  // as environ; null: none
  // Where config=FILE begins if it is relative; empty: where the process is.
  std::string directory = {};
};

// `args` without the program's name. INVALID_ARGUMENT: the message is one line
// that names the option and what it takes; where a config file is at fault it
// begins with FILE:LINE.
absl::StatusOr<Options> ParseOptions(std::span<const char* const> args,
                                     const Surroundings& surroundings);

// One word of -o: "name" or "name=value".
absl::Status ApplyOption(Options& options, std::string_view word,
                         const std::string& origin);
// Splits a list at its commas; quotes keep a comma in a value: a="x,y".
absl::StatusOr<std::vector<std::string>> SplitOptionList(std::string_view list);
// The opposite, for one word.
std::string EscapeOptionWord(std::string_view word);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPTIONS_H_
