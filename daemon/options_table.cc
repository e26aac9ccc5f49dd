#include "daemon/options_table.h"

#include <sys/mount.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/options_values.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace handlefs {
namespace {

using enum OptionGroup;
using enum OptionValue;
using enum OptionScope;
using enum OptionChange;

// One that may stand alone, for "on".
absl::Status ChooseFlag(Switch& out, std::string_view value) {
  return ChooseSwitch(out, value.empty() ? "on" : value);
}

absl::Status SetMode(Options& options, Mode mode) {
  options.mode = mode;
  return absl::OkStatus();
}

constexpr OptionRow kRows[] = {
    // Source and mount
    {.group = kMount,
     .name = "source",
     .metavar = "PATH",
     .by_default = "(the operand)",
     .help = "the directory to show, for config files",
     .more = "A SOURCE on the command line wins. Where a config file names the "
             "source, a single operand is the MOUNTPOINT.",
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.source, v); }},
    {.group = kMount,
     .name = "mountpoint",
     .metavar = "PATH",
     .by_default = "(the operand)",
     .help = "where to show it, for config files",
     .more = "A MOUNTPOINT on the command line wins. /dev/fd/N is an opened "
             "/dev/fuse that is mounted already, or one end of a "
             "SOCK_SEQPACKET socket pair; it is served and not mounted.",
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.mount_point, v); }},
    {.group = kMount,
     .name = "ro",
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "off",
     .help = "mount read-only; rw is the opposite",
     .more = "The kernel refuses writing, whatever the source allows.",
     .change = kByRemount,
     .set = [](Options& o,
               std::string_view v) { return ChooseFlag(o.read_only, v); }},
    {.group = kMount,
     .name = "allow_other",
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "(on for root)",
     .help = "other users may use the mount",
     .more = "The kernel checks modes and ACLs for each of them. Without root "
             "it needs user_allow_other in /etc/fuse.conf.",
     .set =
         [](Options& o, std::string_view v) {
           return ChooseFlag(o.allow_other.emplace(), v);
         }},
    {.group = kMount,
     .name = "submounts",
     .metavar = "hide|cross",
     .by_default = "hide",
     .help = "what is mounted below the source",
     .more = "hide: as in a bind mount, the directory below the mount point "
             "shows. cross: as in a recursive bind mount.",
     .cost = "with cross files below other mounts take memory while they are "
             "known",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(
               o.submounts, v,
               {{"hide", Submounts::kHide}, {"cross", Submounts::kCross}});
         }},
    {.group = kMount,
     .name = "require_mounted_source",
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "off",
     .help = "refuse a source that is not a mount point",
     .more = "A disk that is not there yet at boot would be shown as the empty "
             "directory that it is to be mounted on. The start then fails "
             "with status 2.",
     .set =
         [](Options& o, std::string_view v) {
           return ChooseFlag(o.require_mounted_source, v);
         }},
    {.group = kMount,
     .name = "replace_stale",
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "off",
     .help = "take away a dead FUSE mount in the way",
     .more = "A mount whose server is gone answers every access with ENOTCONN. "
             "It is detached before the new one is made.",
     .set = [](Options& o,
               std::string_view v) { return ChooseFlag(o.replace_stale, v); }},
    {.group = kMount,
     .name = "fsname",
     .metavar = "TEXT",
     .by_default = "(the source)",
     .help = "source shown in the mount table",
     .more = "The first column of /proc/mounts and of findmnt.",
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.fsname, v); }},
    {.group = kMount,
     .name = "max_read",
     .metavar = "BYTES",
     .by_default = "(no limit)",
     .help = "limit of one read request",
     .more = "From 4k to 1M.",
     .cost = "small ones make reading slow",
     .set =
         [](Options& o, std::string_view v) {
           return Number(o.max_read, v, 4096, 1 << 20);
         }},
    // Identity
    {.group = kIdentity,
     .name = "identity",
     .metavar = "auto|handle|fd",
     .by_default = "auto",
     .help = "know files by host file handle or by descriptor",
     .more = "auto takes handles where the source has them and the daemon may "
             "open them, which needs CAP_DAC_READ_SEARCH.",
     .cost = "with fd each known file takes a descriptor, up to the limit",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.identity, v,
                         {{"auto", Identity::kAuto},
                          {"handle", Identity::kHandle},
                          {"fd", Identity::kFd}});
         }},
    {.group = kIdentity,
     .name = "export",
     .metavar = "off|on",
     .by_default = "off",
     .help = "file handles of the mount, for NFS",
     .more = "name_to_handle_at(2) and NFS export of the mount work, and "
             "handles outlive a new start with the same key_file.",
     .cost = "a signature for each handle",
     .set = [](Options& o,
               std::string_view v) { return ChooseSwitch(o.exported, v); }},
    {.group = kIdentity,
     .name = "key_file",
     .metavar = "PATH",
     .by_default = "(/var/lib/handlefs/UUID.key)",
     .help = "key that signs exported handles",
     .more = "Made at first use with mode 0600. UUID is that of the source's "
             "file system.",
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.key_file, v); }},
    // Caching and data
    {.group = kCache,
     .name = "cache",
     .metavar = "none|auto|always",
     .by_default = "auto",
     .help = "how long names and attributes are believed",
     .more = "none: every call asks the host. auto: for timeout= seconds; file "
             "content until the next open. always: until the kernel forgets, "
             "for trees that nobody else changes. What is changed through the "
             "mount is seen at once in all three.",
     .cost = "with none each path component is a request each time",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.cache, v,
                         {{"none", Cache::kNone},
                          {"auto", Cache::kAuto},
                          {"always", Cache::kAlways}});
         }},
    {.group = kCache,
     .name = "timeout",
     .metavar = "SECONDS",
     .by_default = "1",
     .help = "how long, with cache=auto",
     .more = "Fractions are taken. What the host changes behind the mount may "
             "stay unseen for that long.",
     .cost = "short ones make more requests",
     .set = [](Options& o,
               std::string_view v) { return Seconds(o.timeout, v); }},
    {.group = kCache,
     .name = "passthrough",
     .metavar = "auto|on|off",
     .by_default = "auto",
     .help = "the kernel reads and writes host files itself",
     .more = "auto: where the kernel has it and the daemon has CAP_SYS_ADMIN. "
             "on: fail with status 6 where that is not so.",
     .cost = "with off all data goes through the daemon",
     .kernel = "Linux 6.9",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.passthrough, v,
                         {{"auto", Passthrough::kAuto},
                          {"on", Passthrough::kOn},
                          {"off", Passthrough::kOff}});
         }},
    {.group = kCache,
     .name = "locks",
     .metavar = "host|local",
     .by_default = "host",
     .help = "locks that host processes see, or the mount's own",
     .more = "host: POSIX and flock locks meet those that host processes take "
             "on the same files. local: the kernel keeps them, within the "
             "mount.",
     .cost = "local is the cheaper one",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.locks, v,
                         {{"host", Locks::kHost}, {"local", Locks::kLocal}});
         }},
    {.group = kCache,
     .name = "max_write",
     .metavar = "BYTES",
     .by_default = "1M",
     .help = "data in one request, 4k to 1M",
     .more = "The buffers of the daemon are as large.",
     .cost = "small ones make writing slow, large ones take address space",
     .set =
         [](Options& o, std::string_view v) {
           return Number(o.max_write, v, 4096, 1 << 20);
         }},
    // Serving
    {.group = kServe,
     .name = "transport",
     .metavar = "auto|dev|uring",
     .by_default = "auto",
     .help = "requests by /dev/fuse or over io_uring",
     .more = "auto takes io_uring where the kernel has it on, and falls back "
             "to /dev/fuse. uring: fail with status 6 where it is off.",
     .cost = "uring: a thread and four buffers of max_write for each CPU",
     .kernel = "Linux 6.14 for uring",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.transport, v,
                         {{"auto", Transport::kAuto},
                          {"dev", Transport::kDev},
                          {"uring", Transport::kUring}});
         }},
    {.group = kServe,
     .name = "enable_uring",
     .metavar = "off|on",
     .by_default = "off",
     .help = "turn the kernel's FUSE over io_uring on",
     .more = "Kernels ship with it off. It is set in "
             "/sys/module/fuse/parameters/enable_uring before mounting, needs "
             "root, and stays on for mounts that are made later.",
     .kernel = "Linux 6.14",
     .set = [](Options& o,
               std::string_view v) { return ChooseSwitch(o.enable_uring, v); }},
    {.group = kServe,
     .name = "dialect",
     .metavar = "NAME",
     .by_default = "mainline",
     .help = "posted protocols: auto, or one of README's",
     .more = "For those who work on the FUSE protocol. auto recognizes what "
             "the kernel speaks.",
     .kernel = "no released one speaks another than mainline",
     .set = [](Options& o,
               std::string_view v) { return ChooseDialect(o.dialect, v); }},
    {.group = kServe,
     .name = "offload",
     .metavar = "auto|always|never",
     .by_default = "auto",
     .help = "use other threads for what may wait",
     .more = "What may wait is fsync, locks, cold reads, and metadata of "
             "network file systems. never: one such request can hold up "
             "others.",
     .cost = "always: two switches of threads for each request",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.offload, v,
                         {{"auto", Offload::kAuto},
                          {"always", Offload::kAlways},
                          {"never", Offload::kNever}});
         }},
    {.group = kServe,
     .name = "threads",
     .metavar = "N",
     .by_default = "16",
     .help = "most readers, and most offload threads",
     .more = "From 1 to 256. They are made when they are needed. -s is "
             "threads=1.",
     .cost = "a stack each, and a buffer of max_write for each request in work",
     .set = [](Options& o,
               std::string_view v) { return Number(o.threads, v, 1, 256); }},
    {.group = kServe,
     .name = "scheduling",
     .metavar = "auto|normal",
     .by_default = "auto",
     .help = "whether threads that serve give way to their clients",
     .more = "auto: while many requests come and nobody else wants the CPU, "
             "the threads that serve are of the class SCHED_IDLE, so that a "
             "client that gets its answer goes on at once, on the CPU where it "
             "asked. It is looked at each 10 ms; stats tells if it cannot be "
             "had.",
     .cost = "normal: up to four times as long for a small request",
     .kernel = "CAP_SYS_NICE",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.scheduling, v,
                         {{"auto", io::Scheduling::kAuto},
                          {"normal", io::Scheduling::kNormal}});
         }},
    {.group = kServe,
     .name = "restart",
     .metavar = "off|best|lossless",
     .by_default = "best",
     .help = "whether the mount outlives its server",
     .more = "off: the mount ends with its server. best: another server "
             "follows one that died, under the live mount, where that can be "
             "had. lossless: the start fails where it cannot.",
     .cost = "a second, small process with best and lossless",
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.restart, v,
                         {{"off", Restart::kOff},
                          {"best", Restart::kBest},
                          {"lossless", Restart::kLossless}});
         }},
    // Messages
    {.group = kMessages,
     .name = "foreground",
     .letter = 'f',
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "off",
     .help = "do not go to the background",
     .more = "For service managers and for looking at messages.",
     .set = [](Options& o,
               std::string_view v) { return ChooseFlag(o.foreground, v); }},
    {.group = kMessages,
     .name = "debug",
     .letter = 'd',
     .value = kOptional,
     .metavar = "on|off",
     .by_default = "off",
     .help = "trace requests; implies -f",
     .more = "A line for each request and reply; log_level=debug adds the "
             "bytes, which handlefs-trace(1) reads.",
     .cost = "a line for each request",
     .set =
         [](Options& o, std::string_view v) {
           absl::Status status = ChooseFlag(o.trace, v);
           if (o.trace == Switch::kOn) o.foreground = Switch::kOn;
           return status;
         }},
    {.group = kMessages,
     .name = "log",
     .metavar = "auto|stderr|syslog|PATH",
     .by_default = "auto",
     .help = "where messages go",
     .more = "auto: stderr with -f, else syslog. What stops a start always "
             "goes to stderr.",
     .set = [](Options& o, std::string_view v) { return TextValue(o.log, v); }},
    {.group = kMessages,
     .name = "log_level",
     .metavar = "error|warning|info|debug|FOLDER=LEVEL",
     .by_default = "info",
     .help = "which messages",
     .more =
         "Each level has those before it. Folders of the source may have "
         "levels of their own, after commas: info,io=debug,restart=warning. "
         "They are daemon, restart, control, io, handles and proto. In -o "
         "such a comma is written \\,.",
     .change = kByReload,
     .set =
         [](Options& o, std::string_view v) {
           return LogLevels::Parse(o.log_level, v);
         }},
    {.group = kMessages,
     .name = "log_format",
     .metavar = "auto|text|json|journal",
     .by_default = "auto",
     .help = "how messages are written",
     .more = "auto: text, with the journal's priorities where stderr is the "
             "journal. json: one object in a line, with time, level, folder, "
             "message and pid; with mount, op and errno where there are any.",
     .change = kByReload,
     .set =
         [](Options& o, std::string_view v) {
           return Choose(o.log_format, v,
                         {{"auto", LogFormat::kAuto},
                          {"text", LogFormat::kText},
                          {"json", LogFormat::kJson},
                          {"journal", LogFormat::kJournal}});
         }},
    {.group = kMessages,
     .name = "metrics_file",
     .metavar = "PATH",
     .by_default = "(none)",
     .help = "write counters for Prometheus there",
     .more = "Replaced whole every 15 seconds and in the end, for the textfile "
             "collector of a node exporter, which reads names that end with "
             ".prom. PATH.tmp beside it is written to first. The start fails "
             "with status 1 if that cannot be made.",
     .cost = "a short process every 15 seconds",
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.metrics_file, v); }},
    // Configuration and questions
    {.group = kAsk,
     .name = "config",
     .metavar = "NAME|FILE",
     .by_default = "(none)",
     .help = "read /etc/handlefs/NAME.conf, or FILE",
     .more = "A value with a slash is a file. It is read after "
             "/etc/handlefs/handlefs.conf, and wins over it.",
     .scope = kCommandLine,
     .set = [](Options& o,
               std::string_view v) { return TextValue(o.config, v); }},
    {.group = kAsk,
     .name = "check",
     .value = kOptional,
     .metavar = "text|json",
     .by_default = "text",
     .help = "print what would be used, and why; mount nothing",
     .more = "Asks the kernel and looks at SOURCE and, if it is given, at "
             "MOUNTPOINT. Ends with the status that a start would end with.",
     .scope = kCommandLine,
     .set =
         [](Options& o, std::string_view v) {
           o.mode = Mode::kCheck;
           return Choose(o.check_form, v.empty() ? "text" : v,
                         {{"text", Form::kText}, {"json", Form::kJson}});
         }},
    {.group = kAsk,
     .name = "print_config",
     .value = kNone,
     .help = "print each option, and where its value is from",
     .more = "The output can be used as a config file.",
     .scope = kCommandLine,
     .set = [](Options& o,
               std::string_view) { return SetMode(o, Mode::kPrintConfig); }},
    {.group = kAsk,
     .name = "help",
     .letter = 'h',
     .value = kOptional,
     .metavar = "all|OPTION",
     .by_default = "(one screen)",
     .help = "this text; all that is known of an option",
     .more = "all: of each option.",
     .scope = kCommandLine,
     .set =
         [](Options& o, std::string_view v) {
           o.help_topic = std::string(v);
           std::replace(o.help_topic.begin(), o.help_topic.end(), '-', '_');
           if (!v.empty() && o.help_topic != "all" &&
               FindOption(o.help_topic) == nullptr) {
             return BadOption(
                 absl::StrCat("there is no option '", std::string(v), "'"));
           }
           return SetMode(o, Mode::kHelp);
         }},
    {.group = kAsk,
     .name = "version",
     .letter = 'V',
     .value = kNone,
     .help = "version, and what this kernel offers",
     .more = "The protocol version and features of the kernel's FUSE.",
     .scope = kCommandLine,
     .set = [](Options& o,
               std::string_view) { return SetMode(o, Mode::kVersion); }},
};

constexpr MountWord kWords[] = {
    {"nosuid", "suid", "set-id bits and file capabilities have no effect"},
    {"nodev", "dev", "devices cannot be opened"},
    {"noexec", "exec", "programs cannot be run"},
    {"noatime", "atime", "access times are not kept by the mount"},
    {"nodiratime", "diratime", "nor those of directories"},
    {"relatime", "norelatime", "access times move as on most mounts"},
    {"strictatime", "nostrictatime", "access times always move"},
    {"nosymfollow", "symfollow", "symbolic links are not followed"},
    {"sync", "async", "writes are synchronous"},
    {"dirsync", "", "changes of directories are synchronous"},
    {"lazytime", "nolazytime", "times are written to the disk late"},
};

struct Attribute {
  std::string_view name;
  uint64_t clear;
  uint64_t set;
};
constexpr Attribute kAttributes[] = {
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

}  // namespace

std::span<const OptionRow> OptionTable() { return kRows; }

const OptionRow* FindOption(std::string_view name) {
  for (const OptionRow& row : kRows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

const OptionRow* FindOption(char letter) {
  for (const OptionRow& row : kRows) {
    if (row.letter == letter) return &row;
  }
  return nullptr;
}

std::string_view TitleOf(OptionGroup group) {
  switch (group) {
    case kMount:
      return "Source and mount";
    case kIdentity:
      return "Identity";
    case kCache:
      return "Caching and data";
    case kServe:
      return "Serving";
    case kMessages:
      return "Messages";
    case kAsk:
      return "Configuration and questions";
  }
  return "";
}

std::span<const MountWord> MountWords() { return kWords; }

bool ApplyMountWord(Options& options, std::string_view name) {
  for (const Attribute& row : kAttributes) {
    if (row.name != name) continue;
    options.mount_attributes &= ~row.clear;
    options.mount_attributes |= row.set;
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
  if (std::find(std::begin(kSuperblockFlags), std::end(kSuperblockFlags),
                name) != std::end(kSuperblockFlags)) {
    absl::StrAppend(&options.superblock_flags,
                    options.superblock_flags.empty() ? "" : ",",
                    std::string(name));
    return true;
  }
  return false;
}

}  // namespace handlefs
