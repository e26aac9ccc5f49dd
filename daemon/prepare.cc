#include "daemon/prepare.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/key_file.h"
#include "daemon/log.h"
#include "daemon/uring_parameter.h"
#include "io/dev_transport.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace handlefs {
namespace {

// Descriptors that are not for nodes: open files, directories, the server's
// own.
constexpr rlim_t kFdReserve = 512;

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// While the process still may: limits, and a place that the kernel treats with
// care, since memory reclaim can wait for this server.
rlim_t PrepareProcess() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  // Rings count as locked memory; only root may raise this one.
  rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  (void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
  (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  UniqueFd oom(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (oom) (void)!write(oom.get(), "-900", 4);
  return limit.rlim_cur;
}

size_t FdBudget(rlim_t limit) {
  return static_cast<size_t>(limit > 2 * kFdReserve ? limit - kFdReserve
                                                    : limit / 4);
}

std::variant<std::unique_ptr<Nodes>, StartError> MakeNodes(
    const Options& options, Source source, const HashKey& key,
    rlim_t fd_limit) {
  Nodes::Config config{.identity = options.identity,
                       .exported = options.exported == Switch::kOn
                                       ? Nodes::Export::kOn
                                       : Nodes::Export::kOff,
                       .key = key,
                       .fd_budget = FdBudget(fd_limit)};
  auto nodes = Nodes::Make(std::move(source), config);
  if (!nodes.ok()) {
    return StartError{ExitCode::kSource, Message(nodes.status())};
  }
  if (options.exported == Switch::kOn &&
      !(*nodes)->file_systems().main().has_handles) {
    return StartError{
        ExitCode::kSource,
        absl::StrCat("export=on needs file handles of the source: ",
                     (*nodes)->file_systems().why_not_handles())};
  }
  return *std::move(nodes);
}

std::optional<StartError> TurnOnIfAsked(const Options& options) {
  if (options.enable_uring == Switch::kOff) return std::nullopt;
  Status on = TurnUringOn();
  if (on.ok()) return std::nullopt;
  return StartError{
      ExitCode::kFuse,
      absl::StrCat("enable_uring=on: cannot turn FUSE over io_uring on: ",
                   on.error() == Errno(ENOENT)
                       ? "this kernel has none (Linux 6.14, "
                         "CONFIG_FUSE_IO_URING)"
                       : std::strerror(on.error().value()),
                   "; leave the option out")};
}

HostFacts FactsOf(const Options& options, const Privileges& privileges,
                  const Nodes& nodes, io::DeviceKind kind) {
  const HostFs& fs = nodes.file_systems().main();
  const bool is_device = kind == io::DeviceKind::kFuse;
  return {.can_register_backing = privileges.mount && is_device,
          .is_device = is_device,
          // Of crossed mounts nothing is known yet.
          .dir_positions_last =
              fs.dir_positions_last && options.submounts == Submounts::kHide,
          .source_is_stacked = fs.is_stacked};
}

}  // namespace

int DescriptorOf(const std::string& mount_point) {
  constexpr std::string_view kPrefix = "/dev/fd/";
  if (!mount_point.starts_with(kPrefix)) return -1;
  int fd = -1;
  const char* end = mount_point.data() + mount_point.size();
  auto [at, error] =
      std::from_chars(mount_point.data() + kPrefix.size(), end, fd);
  return error == std::errc() && at == end ? fd : -1;
}

std::variant<Prepared, StartError> Prepare(const Options& options) {
  const rlim_t fd_limit = PrepareProcess();
  const Privileges privileges = ReducePrivileges();

  const int given = DescriptorOf(options.mount_point);
  std::string mount_point = options.mount_point;
  if (given < 0) {
    auto checked = CheckMountPoint(options.mount_point,
                                   options.replace_stale == Switch::kOn
                                       ? StaleMount::kReplace
                                       : StaleMount::kRefuse);
    if (auto* error = std::get_if<StartError>(&checked)) return *error;
    mount_point = std::get<std::string>(checked);
  }

  auto source = OpenSource(options.source, options.submounts);
  if (!source.ok()) {
    return StartError{ExitCode::kSource, Message(source.status())};
  }
  if (given < 0 && !source->is_private &&
      (mount_point + "/").starts_with(source->path + "/")) {
    return StartError{
        ExitCode::kMountPoint,
        absl::StrCat("the mount point ", mount_point,
                     " lies inside the source ", source->path,
                     ", which would then contain itself; as root this is "
                     "possible")};
  }
  Prepared prepared;
  prepared.key = RandomKey();
  // What is given out under a key that is lost with the process is lost too.
  if (options.exported == Switch::kOn ||
      options.dialect != &proto::MainlineDialect()) {
    auto key = LoadKey(options.key_file, source->dir);
    if (!key.ok()) return StartError{ExitCode::kUsage, Message(key.status())};
    prepared.key = *key;
  }
  auto nodes = MakeNodes(options, *std::move(source), prepared.key, fd_limit);
  if (auto* error = std::get_if<StartError>(&nodes)) return *error;
  prepared.nodes = std::get<0>(std::move(nodes));

  // Before the mount: its INIT tells whether it is on.
  if (auto error = TurnOnIfAsked(options)) return *error;
  if (given >= 0) {
    prepared.is_ours = false;
    prepared.mounted.device = UniqueFd(fcntl(given, F_DUPFD_CLOEXEC, 3));
    close(given);
    if (!prepared.mounted.device) {
      return StartError{ExitCode::kMountPoint,
                        absl::StrCat(options.mount_point, " is not open")};
    }
  } else {
    auto result =
        MountFuse(options, mount_point, prepared.nodes->source().path,
                  privileges.mount ? MountBy::kKernel : MountBy::kHelper);
    if (auto* error = std::get_if<StartError>(&result)) return *error;
    prepared.mounted = std::get<Mounted>(std::move(result));
  }
  auto kind = io::KindOf(prepared.mounted.device);
  if (!kind.ok()) {
    return StartError{
        ExitCode::kMountPoint,
        absl::StrCat(options.mount_point, ": ", Message(kind.status()))};
  }
  prepared.facts = FactsOf(options, privileges, *prepared.nodes, *kind);
  SetLogMount(prepared.mounted.mount_point);
  // Nothing of the host is kept busy by the working directory.
  (void)!chdir("/");
  return prepared;
}

std::variant<Prepared, StartError> PrepareAgain(const Options& options,
                                                Source source, Mounted mounted,
                                                const HashKey& key) {
  const rlim_t fd_limit = PrepareProcess();
  const Privileges privileges = ReducePrivileges();
  Prepared prepared;
  prepared.key = key;
  auto nodes = MakeNodes(options, std::move(source), key, fd_limit);
  if (auto* error = std::get_if<StartError>(&nodes)) return *error;
  prepared.nodes = std::get<0>(std::move(nodes));
  prepared.mounted = std::move(mounted);
  prepared.facts =
      FactsOf(options, privileges, *prepared.nodes, io::DeviceKind::kFuse);
  SetLogMount(prepared.mounted.mount_point);
  (void)!chdir("/");
  return prepared;
}

}  // namespace handlefs
