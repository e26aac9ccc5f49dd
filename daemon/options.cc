#include "daemon/options.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "absl/strings/str_cat.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace handlefs {
namespace {

absl::Status Bad(std::string_view message) {
  return absl::InvalidArgumentError(
      absl::string_view(message.data(), message.size()));
}
std::string Str(std::string_view text) { return std::string(text); }

// How a value is read into Options.
using Setter = absl::Status (*)(Options&, std::string_view value);

struct Row {
  std::string_view name;
  std::string_view metavar;  // empty: the option takes no value
  std::string_view help;
  Setter set;
};
struct Group {
  std::string_view title;
  std::span<const Row> rows;
};

template <typename E>
struct Choice {
  std::string_view word;
  E value;
};

template <typename E, size_t N>
absl::Status Choose(E& out, std::string_view value,
                    const Choice<E> (&choices)[N]) {
  std::string words;
  for (const Choice<E>& choice : choices) {
    if (choice.word == value) {
      out = choice.value;
      return absl::OkStatus();
    }
    absl::StrAppend(&words, words.empty() ? "" : ", ", Str(choice.word));
  }
  return Bad(absl::StrCat("'", Str(value), "' is not one of ", words));
}

absl::Status ChooseDialect(Options& options, std::string_view value) {
  options.dialect = proto::FindDialect(value);
  if (options.dialect != nullptr || value == "auto") return absl::OkStatus();
  std::string words = "auto";
  for (const proto::Dialect* dialect : proto::Dialects()) {
    absl::StrAppend(&words, ", ", Str(dialect->name));
  }
  return Bad(absl::StrCat("'", Str(value), "' is not one of ", words));
}

absl::Status ChooseSwitch(Switch& out, std::string_view value) {
  return Choose(out, value, {{"off", Switch::kOff}, {"on", Switch::kOn}});
}

// One that may stand alone, for "on".
absl::Status ChooseFlag(Switch& out, std::string_view value) {
  return ChooseSwitch(out, value.empty() ? "on" : value);
}

absl::Status Number(uint32_t& out, std::string_view value, uint32_t least,
                    uint32_t most) {
  uint64_t number = 0;
  auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  std::string_view unit(end,
                        static_cast<size_t>(value.data() + value.size() - end));
  int shift = 0;
  if (unit == "k" || unit == "K") {
    shift = 10;
  } else if (unit == "m" || unit == "M") {
    shift = 20;
  } else if (!unit.empty()) {
    error = std::errc::invalid_argument;
  }
  // Compared before it is shifted, too: bits may leave at the top.
  if (number <= most) number <<= shift;
  if (error != std::errc() || number < least || number > most) {
    return Bad(absl::StrCat("'", Str(value), "' is not a number from ", least,
                            " to ", most));
  }
  out = static_cast<uint32_t>(number);
  return absl::OkStatus();
}

absl::Status Seconds(double& out, std::string_view value) {
  constexpr double kYear = 366.0 * 24 * 3600;
  double number = 0;
  auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() ||
      !(number >= 0) || number > kYear) {
    return Bad(absl::StrCat("'", Str(value),
                            "' is not a number of seconds from 0 to a year"));
  }
  out = number;
  return absl::OkStatus();
}

absl::Status TextValue(std::string& out, std::string_view value) {
  if (value.empty()) return Bad("it needs a value");
  out = Str(value);
  return absl::OkStatus();
}

constexpr Row kMountRows[] = {
    {"ro", "", "mount read-only",
     [](Options& o, std::string_view) {
       o.read_only = Switch::kOn;
       return absl::OkStatus();
     }},
    {"rw", "", "mount read-write (default)",
     [](Options& o, std::string_view) {
       o.read_only = Switch::kOff;
       return absl::OkStatus();
     }},
    {"allow_other", "on|off", "other users may use the mount (on for root)",
     [](Options& o, std::string_view v) {
       return ChooseFlag(o.allow_other.emplace(), v);
     }},
    {"submounts", "hide|cross", "mounts below the source (hide)",
     [](Options& o, std::string_view v) {
       return Choose(
           o.submounts, v,
           {{"hide", Submounts::kHide}, {"cross", Submounts::kCross}});
     }},
    {"require_mounted_source", "on|off",
     "refuse a source that is not a mount point (off)",
     [](Options& o, std::string_view v) {
       return ChooseFlag(o.require_mounted_source, v);
     }},
    {"replace_stale", "on|off",
     "take away a dead FUSE mount that is in the way (off)",
     [](Options& o, std::string_view v) {
       return ChooseFlag(o.replace_stale, v);
     }},
    {"fsname", "TEXT", "source shown in the mount table (the source)",
     [](Options& o, std::string_view v) { return TextValue(o.fsname, v); }},
    {"max_read", "BYTES", "limit of one read request (none)",
     [](Options& o, std::string_view v) {
       return Number(o.max_read, v, 4096, 1 << 20);
     }},
};

constexpr Row kIdentityRows[] = {
    {"identity", "auto|handle|fd",
     "know files by host file handle, or by a descriptor each (auto)",
     [](Options& o, std::string_view v) {
       return Choose(o.identity, v,
                     {{"auto", Identity::kAuto},
                      {"handle", Identity::kHandle},
                      {"fd", Identity::kFd}});
     }},
    {"export", "off|on", "file handles of the mount, for NFS (off)",
     [](Options& o, std::string_view v) {
       return ChooseSwitch(o.exported, v);
     }},
    {"key_file", "PATH", "key of exported handles (by file system uuid)",
     [](Options& o, std::string_view v) { return TextValue(o.key_file, v); }},
};

constexpr Row kCacheRows[] = {
    {"cache", "none|auto|always",
     "believe names and attributes never, for timeout, for ever (auto)",
     [](Options& o, std::string_view v) {
       return Choose(o.cache, v,
                     {{"none", Cache::kNone},
                      {"auto", Cache::kAuto},
                      {"always", Cache::kAlways}});
     }},
    {"timeout", "SECONDS", "with cache=auto (1)",
     [](Options& o, std::string_view v) { return Seconds(o.timeout, v); }},
    {"passthrough", "auto|on|off",
     "let the kernel read and write host files itself (auto)",
     [](Options& o, std::string_view v) {
       return Choose(o.passthrough, v,
                     {{"auto", Passthrough::kAuto},
                      {"on", Passthrough::kOn},
                      {"off", Passthrough::kOff}});
     }},
    {"locks", "host|local",
     "locks that host processes see, or of the mount alone (host)",
     [](Options& o, std::string_view v) {
       return Choose(o.locks, v,
                     {{"host", Locks::kHost}, {"local", Locks::kLocal}});
     }},
    {"max_write", "BYTES", "data in one request, 4k to 1M (1M)",
     [](Options& o, std::string_view v) {
       return Number(o.max_write, v, 4096, 1 << 20);
     }},
};

constexpr Row kServeRows[] = {
    {"transport", "auto|dev|uring",
     "requests by /dev/fuse or over io_uring (auto: what the kernel has)",
     [](Options& o, std::string_view v) {
       return Choose(o.transport, v,
                     {{"auto", Transport::kAuto},
                      {"dev", Transport::kDev},
                      {"uring", Transport::kUring}});
     }},
    {"enable_uring", "off|on",
     "turn the kernel's FUSE-over-io_uring on at start (off)",
     [](Options& o, std::string_view v) {
       return ChooseSwitch(o.enable_uring, v);
     }},
    {"dialect", "NAME", "posted protocols: auto, or one of README's (mainline)",
     [](Options& o, std::string_view v) { return ChooseDialect(o, v); }},
    {"offload", "auto|always|never",
     "use other threads for what may wait (auto)",
     [](Options& o, std::string_view v) {
       return Choose(o.offload, v,
                     {{"auto", Offload::kAuto},
                      {"always", Offload::kAlways},
                      {"never", Offload::kNever}});
     }},
    {"threads", "N", "most readers, and most offload threads (16)",
     [](Options& o, std::string_view v) {
       return Number(o.threads, v, 1, 256);
     }},
    {"restart", "off|best|lossless",
     "what must outlive a change of daemons under the mount (best)",
     [](Options& o, std::string_view v) {
       return Choose(o.restart, v,
                     {{"off", Restart::kOff},
                      {"best", Restart::kBest},
                      {"lossless", Restart::kLossless}});
     }},
};

constexpr Row kMessageRows[] = {
    {"foreground", "", "-f: do not go to the background",
     [](Options& o, std::string_view) {
       o.foreground = Switch::kOn;
       return absl::OkStatus();
     }},
    {"debug", "", "-d: trace (implies -f); log_level=debug adds the bytes",
     [](Options& o, std::string_view) {
       o.foreground = Switch::kOn;
       o.trace = Switch::kOn;
       return absl::OkStatus();
     }},
    {"log", "auto|stderr|syslog|PATH",
     "where messages go (auto: stderr with -f, else syslog)",
     [](Options& o, std::string_view v) { return TextValue(o.log, v); }},
    {"log_level", "error|warning|info|debug", "which messages (info)",
     [](Options& o, std::string_view v) {
       return Choose(o.log_level, v,
                     {{"error", LogLevel::kError},
                      {"warning", LogLevel::kWarning},
                      {"info", LogLevel::kInfo},
                      {"debug", LogLevel::kDebug}});
     }},
    {"help", "", "-h: this text",
     [](Options& o, std::string_view) {
       o.mode = Mode::kHelp;
       return absl::OkStatus();
     }},
    {"check", "", "print what would be used for SOURCE, and why; mount nothing",
     [](Options& o, std::string_view) {
       o.mode = Mode::kCheck;
       return absl::OkStatus();
     }},
    {"version", "", "-V: version, and what this kernel offers",
     [](Options& o, std::string_view) {
       o.mode = Mode::kVersion;
       return absl::OkStatus();
     }},
};

constexpr Group kGroups[] = {
    {"Source and mount", kMountRows}, {"Identity", kIdentityRows},
    {"Caching and data", kCacheRows}, {"Serving", kServeRows},
    {"Messages", kMessageRows},
};

// The kernel's own mount flags, by their mount(8) names.
struct MountFlag {
  std::string_view name;
  uint64_t clear;
  uint64_t set;
};
constexpr MountFlag kMountFlags[] = {
    {"noexec", 0, MOUNT_ATTR_NOEXEC},
    {"exec", MOUNT_ATTR_NOEXEC, 0},
    {"noatime", MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME},
    {"atime", MOUNT_ATTR__ATIME, 0},
    {"relatime", MOUNT_ATTR__ATIME, 0},
    {"norelatime", MOUNT_ATTR__ATIME, 0},
    {"strictatime", MOUNT_ATTR__ATIME, MOUNT_ATTR_STRICTATIME},
    {"nostrictatime", MOUNT_ATTR__ATIME, 0},
    {"nodiratime", 0, MOUNT_ATTR_NODIRATIME},
    {"diratime", MOUNT_ATTR_NODIRATIME, 0},
    {"nosymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    {"symfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
};
constexpr std::string_view kSuperblockFlags[] = {"sync", "async", "dirsync",
                                                 "lazytime", "nolazytime"};
// Words of fstab that are for others than the file system.
constexpr std::string_view kIgnored[] = {"defaults",
                                         "auto",
                                         "noauto",
                                         "nofail",
                                         "_netdev",
                                         "user",
                                         "users",
                                         "nouser",
                                         "owner",
                                         "group",
                                         "default_permissions"};
constexpr std::string_view kOurs[] = {"fd",       "rootmode", "user_id",
                                      "group_id", "subtype",  "blksize"};

template <size_t N>
bool Contains(const std::string_view (&list)[N], std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// True if `name` is a flag of the kernel's.
bool ApplyMountFlag(Options& options, std::string_view name) {
  for (const MountFlag& flag : kMountFlags) {
    if (flag.name != name) continue;
    options.mount_attributes &= ~flag.clear;
    options.mount_attributes |= flag.set;
    return true;
  }
  if (name == "suid" || name == "nosuid") {
    options.allow_suid = name == "suid" ? Switch::kOn : Switch::kOff;
    return true;
  }
  if (name == "dev" || name == "nodev") {
    options.allow_dev = name == "dev" ? Switch::kOn : Switch::kOff;
    return true;
  }
  if (Contains(kSuperblockFlags, name)) {
    absl::StrAppend(&options.superblock_flags,
                    options.superblock_flags.empty() ? "" : ",", Str(name));
    return true;
  }
  return false;
}

const Row* FindRow(std::string_view name) {
  for (const Group& group : kGroups) {
    for (const Row& row : group.rows) {
      if (row.name == name) return &row;
    }
  }
  return nullptr;
}

std::string Normal(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

// These may stand alone.
bool ValueIsOptional(const Row& row) { return row.metavar == "on|off"; }

absl::Status Set(Options& options, const Row& row,
                 std::optional<std::string_view> value) {
  if (row.metavar.empty() && value) {
    return Bad(absl::StrCat("option ", Str(row.name), " takes no value"));
  }
  if (!row.metavar.empty() && !value && !ValueIsOptional(row)) {
    return Bad(absl::StrCat("option ", Str(row.name), " needs a value: ",
                            Str(row.name), "=", Str(row.metavar)));
  }
  absl::Status status = row.set(options, value.value_or(""));
  if (!status.ok()) {
    return Bad(absl::StrCat("option ", Str(row.name), ": ",
                            absl::string_view(status.message())));
  }
  return status;
}

absl::Status Unknown(std::string_view name) {
  return Bad(absl::StrCat("unknown option '", Str(name),
                          "'; handlefs --help lists them"));
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitOptionList(
    std::string_view list) {
  std::vector<std::string> words(1);
  bool quoted = false, escaped = false;
  for (char c : list) {
    if (escaped) {
      words.back() += c;
      escaped = false;
    } else if (c == '\\') {
      escaped = true;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  if (quoted || escaped) {
    return Bad(absl::StrCat("a quote is not closed in '", Str(list), "'"));
  }
  std::erase(words, "");
  return words;
}

absl::Status ApplyOption(Options& options, std::string_view word) {
  size_t equals = word.find('=');
  std::string name = Normal(word.substr(0, equals));
  std::optional<std::string_view> value;
  if (equals != std::string_view::npos) value = word.substr(equals + 1);
  // comment=, x-systemd.* and X-mount.* are notes to others.
  if (Contains(kIgnored, name) || name == "comment" || name.starts_with("x_") ||
      name.starts_with("X_")) {
    return absl::OkStatus();
  }
  if (!value && ApplyMountFlag(options, name)) return absl::OkStatus();
  if (Contains(kOurs, name)) {
    return Bad(absl::StrCat("option ", name,
                            " is handlefs's own and cannot be given"));
  }
  const Row* row = FindRow(name);
  if (row == nullptr) return Unknown(word.substr(0, equals));
  return Set(options, *row, value);
}

absl::StatusOr<Options> ParseOptions(std::span<const char* const> args) {
  Options options;
  std::vector<std::string_view> operands;
  bool only_operands = false;
  auto apply_list = [&](std::string_view list) -> absl::Status {
    auto words = SplitOptionList(list);
    if (!words.ok()) return words.status();
    for (const std::string& word : *words) {
      if (absl::Status s = ApplyOption(options, word); !s.ok()) return s;
    }
    return absl::OkStatus();
  };
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view arg = args[i];
    absl::Status status = absl::OkStatus();
    if (only_operands || arg.size() < 2 || arg[0] != '-') {
      operands.push_back(arg);
    } else if (arg == "--") {
      only_operands = true;
    } else if (arg.starts_with("--")) {
      // "--name value" is the same as "--name=value".
      std::string word(arg.substr(2));
      const Row* row = FindRow(Normal(word));
      if (row != nullptr && !row->metavar.empty() && !ValueIsOptional(*row) &&
          i + 1 < args.size()) {
        word = absl::StrCat(word, "=", args[++i]);
      }
      status = ApplyOption(options, word);
    } else if (arg.starts_with("-o")) {
      std::string_view list = arg.substr(2);
      if (list.empty()) {
        if (i + 1 == args.size()) return Bad("-o needs a list of options");
        list = args[++i];
      }
      status = apply_list(list);
    } else {
      for (char c : arg.substr(1)) {
        if (c == 'f') {
          status = ApplyOption(options, "foreground");
        } else if (c == 'd') {
          status = ApplyOption(options, "debug");
        } else if (c == 's') {
          status = ApplyOption(options, "threads=1");
        } else if (c == 'h') {
          status = ApplyOption(options, "help");
        } else if (c == 'V') {
          status = ApplyOption(options, "version");
        } else {
          status = Unknown(arg);
        }
        if (!status.ok()) break;
      }
    }
    if (!status.ok()) return status;
  }
  if (options.mode == Mode::kHelp || options.mode == Mode::kVersion) {
    return options;
  }
  if (options.mode == Mode::kCheck && operands.size() == 1) {
    options.source = Str(operands[0]);
    return options;
  }
  if (operands.size() != 2) {
    return Bad(operands.size() < 2
                   ? "SOURCE and MOUNTPOINT are needed; handlefs --help"
                   : absl::StrCat("'", Str(operands[2]),
                                  "' is too much: only SOURCE and MOUNTPOINT "
                                  "stand without a dash"));
  }
  options.source = Str(operands[0]);
  options.mount_point = Str(operands[1]);
  if (options.source.empty() || options.mount_point.empty()) {
    return Bad("SOURCE and MOUNTPOINT may not be empty");
  }
  return options;
}

std::string HelpText() {
  std::string out =
      "Usage: handlefs [OPTION]... SOURCE MOUNTPOINT\n"
      "Shows the directory tree SOURCE at MOUNTPOINT. Options stand as\n"
      "--name=value or in -o name=value,...; MOUNTPOINT may be /dev/fd/N, an\n"
      "opened /dev/fuse or SOCK_SEQPACKET descriptor that is to be served.\n";
  for (const Group& group : kGroups) {
    absl::StrAppend(&out, "\n", Str(group.title), ":\n");
    for (const Row& row : group.rows) {
      std::string head = absl::StrCat("  ", Str(row.name));
      if (!row.metavar.empty()) absl::StrAppend(&head, "=", Str(row.metavar));
      if (head.size() < 30) {
        head.resize(31, ' ');
      } else {
        absl::StrAppend(&head, " ");
      }
      absl::StrAppend(&out, head, Str(row.help), "\n");
    }
  }
  absl::StrAppend(
      &out,
      "\nAlso mount(8)'s nosuid nodev noexec noatime nodiratime relatime sync\n"
      "dirsync lazytime nosymfollow and their opposites; as root suid and dev\n"
      "are on, like in a bind mount. -s is threads=1.\n");
  return out;
}

}  // namespace handlefs
