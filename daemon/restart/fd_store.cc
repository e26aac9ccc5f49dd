#include "daemon/restart/fd_store.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/control/socket.h"
#include "daemon/log.h"
#include "daemon/restart/state.h"

namespace handlefs {
namespace {

// As in the unit. All names together have to fit into one environment variable,
// which Linux ends at 128 KiB.
constexpr size_t kMost = 4096;
constexpr std::chrono::seconds kPatience{5};
constexpr char kLeft[] = "left in good order\n";
constexpr const char* kDevice = "device";
constexpr const char* kList = "mount";

bool IsOfMount(const std::string& name) {
  return name == kDevice || name == "root" || name == "dir" || name == "state";
}

std::string NameOf(uint32_t kind, uint32_t ref) {
  switch (static_cast<Vault::Kind>(kind)) {
    case Vault::Kind::kClone:
      return absl::StrCat("clone.", ref);
    case Vault::Kind::kFileSystem:
      return absl::StrCat("fs.", ref);
    default:
      return absl::StrCat("kept.", ref);
  }
}

// The source and mount point as the options have them. The mount itself is not
// looked at: nobody may be serving it.
std::string AskedFor(const Options& options) {
  std::string text = absl::StrCat(options.source, "\n", options.mount_point);
  std::string line = "asked ";
  for (unsigned char c : text) absl::StrAppend(&line, absl::Hex(c), ".");
  return line + "\n";
}

std::string ReadAll(BorrowedFd fd) {
  std::string text;
  char part[4096];
  for (ssize_t n, at = 0; (n = pread(fd.get(), part, sizeof(part), at)) > 0;
       at += n) {
    text.append(part, static_cast<size_t>(n));
  }
  return text;
}

std::string NotePath(const Mounted& mounted) {
  std::string path = ControlPath(mounted.mount_point);
  return path.substr(0, path.rfind('.')) + ".stored";
}

absl::Status Unusable(const std::string& why) {
  return absl::FailedPreconditionError(why);
}

}  // namespace

std::optional<StoredMount> TakeStoredMount(const Options& options) {
  auto listened = TakeListenedFds();
  if (!listened.ok()) {
    Log(LogLevel::kWarning,
        absl::StrCat("nothing is taken from the service manager: ",
                     absl::string_view(listened.status().message())));
    return std::nullopt;
  }
  bool is_ours = false;
  for (const NamedFd& one : *listened) is_ours |= one.name == kDevice;
  if (!is_ours) {
    // Descriptors of somebody else's, /dev/fd/N perhaps.
    for (NamedFd& one : *listened) {
      (void)fcntl(one.fd.get(), F_SETFD, 0);
      (void)one.fd.release();
    }
    return std::nullopt;
  }
  StoredMount out{.names = {},
                  .stale = {},
                  .holdings = Unusable("not read yet"),
                  .mounted = std::nullopt,
                  .clones = {},
                  .list = {}};
  for (NamedFd& one : *listened) {
    out.names.insert(one.name);
    if (one.name == kList) out.list = std::move(one.fd);
  }
  std::string text = out.list ? ReadAll(out.list) : "";
  const bool has_left = text.ends_with(kLeft);
  const bool is_same = text.find(AskedFor(options)) != std::string::npos;
  // From here on it has not: records may change.
  if (has_left) {
    text.resize(text.size() - std::strlen(kLeft));
    (void)!ftruncate(out.list.get(), static_cast<off_t>(text.size()));
  }
  for (NamedFd& one : *listened) {
    std::string_view name = one.name;
    uint32_t ref = 0;
    const size_t dot = name.find('.');
    if (dot != std::string_view::npos) {
      (void)std::from_chars(name.data() + dot + 1, name.data() + name.size(),
                            ref);
    }
    if (name.starts_with("clone.")) {
      out.clones[ref] = std::move(one.fd);
    } else if (IsOfMount(one.name)) {
      absl::StrAppend(&text, one.name, " ", one.fd.release(), "\n");
    } else if (name.starts_with("fs.") ||
               (name.starts_with("kept.") && has_left)) {
      absl::StrAppend(&text, "kept.", ref, " ", one.fd.release(), "\n");
    } else if (one.name != kList) {
      out.stale.insert(one.name);
    }
  }
  out.holdings = ParseHoldings(text);
  if (!out.holdings.ok()) {
    out.holdings = Unusable("what the service manager kept is not all there");
    out.mounted = FindMount(options.mount_point);
    return out;
  }
  const Mounted& mounted = out.holdings->mounted;
  out.mounted = Mounted{.device = {},
                        .mount_point = mounted.mount_point,
                        .mount_id = mounted.mount_id,
                        .by_helper = mounted.by_helper};
  if (!has_left) out.holdings->paused_ns = 0;
  if (!is_same) {
    out.holdings = Unusable("the source or the mount point is another now");
  } else if (options.restart == Restart::kOff) {
    out.holdings = Unusable("restart=off");
  } else if (!IsMounted(mounted)) {
    out.holdings = Unusable("it was unmounted meanwhile");
  }
  return out;
}

Status FdStore::Put(const std::string& name, BorrowedFd fd) {
  const BorrowedFd fds[] = {fd};
  RETURN_IF_ERROR(
      manager_.StoreFds(name, fds, ServiceManager::OnHangup::kKeep));
  names_.insert(name);
  return Ok();
}

Status FdStore::Take(const std::string& name) {
  auto it = names_.find(name);
  if (it == names_.end()) return Ok();
  Status removed = manager_.RemoveFds(name);
  if (removed.ok()) {
    names_.erase(it);
    stale_.erase(name);
  } else {
    stale_.insert(name);
  }
  return removed;
}

void FdStore::Begin(const Options& options, const HoldingsView& mount) {
  if (!manager_.present()) return;
  std::string_view rest = mount.stored;
  while (!rest.empty()) {
    size_t end = std::min(rest.find(','), rest.size());
    names_.emplace(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  list_ = UniqueFd(memfd_create("handlefs-mount", MFD_CLOEXEC));
  std::string text = DescribeHoldings(mount) + AskedFor(options);
  if (!list_ || write(list_.get(), text.data(), text.size()) !=
                    static_cast<ssize_t>(text.size())) {
    list_.reset();
    return;
  }
  // That of a program before this one; of the others it has one already then.
  (void)manager_.RemoveFds(kList).ok();
  Status sent = Ok();
  for (const auto& [name, fd] :
       std::initializer_list<std::pair<const char*, BorrowedFd>>{
           {"root", mount.source.root},
           {"dir", mount.source.dir},
           {"state", mount.state},
           {kList, list_},
           {kDevice, mount.mounted.device}}) {
    if (sent.ok()) sent = Put(name, fd);
  }
  if (sent.ok()) {
    note_ = NotePath(mount.mounted);
    std::ofstream(note_) << mount.mounted.mount_id << "\n"
                         << mount.mounted.mount_point << "\n"
                         << options.mount_point << "\n";
    return;
  }
  Log(LogLevel::kWarning,
      absl::StrCat("the service manager does not take the mount: ",
                   std::strerror(sent.error().value()),
                   "; it does not survive this process"));
  list_.reset();
}

void FdStore::GoOn(StoredMount stored) {
  names_ = std::move(stored.names);
  // Locks are held by them, and unlinked files kept.
  for (const std::string& name : stored.stale) (void)Take(name).ok();
  old_clones_ = std::move(stored.clones);
  list_ = std::move(stored.list);
  if (stored.mounted) note_ = NotePath(*stored.mounted);
}

std::string FdStore::Names() const {
  std::string out;
  for (const std::string& name : names_) {
    absl::StrAppend(&out, out.empty() ? "" : ",", name);
  }
  return out;
}

void FdStore::Keep(uint32_t ref, uint32_t kind, BorrowedFd fd) {
  Drop(ref);
  const std::string name = NameOf(kind, ref);
  if (!list_ || name.starts_with("kept.") || names_.size() >= kMost) return;
  (void)Put(name, fd).ok();
}

void FdStore::Drop(uint32_t ref) {
  for (const char* kind : {"clone.", "fs.", "kept."}) {
    (void)Take(absl::StrCat(kind, ref)).ok();
  }
}

void FdStore::DropOldClones() {
  for (const auto& [ref, fd] : old_clones_) Drop(ref);
  old_clones_.clear();
}

absl::Status FdStore::Try() const {
  if (!manager_.present()) {
    return absl::UnavailableError("no service manager has started this");
  }
  if (!list_) return absl::UnavailableError("the mount is not in its fd store");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError("cannot make a pipe");
  }
  UniqueFd mine(ends[0]), theirs(ends[1]);
  const BorrowedFd sent[] = {theirs};
  Status asked =
      manager_.StoreFds("try", sent, ServiceManager::OnHangup::kKeep);
  theirs.reset();
  if (asked.ok()) asked = manager_.Barrier(kPatience);
  pollfd hangup{mine.get(), 0, 0};
  const bool is_kept = poll(&hangup, 1, 0) == 0;
  (void)manager_.RemoveFds("try").ok();
  if (!asked.ok()) {
    return absl::UnavailableError(
        absl::StrCat("the service manager does not answer: ",
                     std::strerror(asked.error().value())));
  }
  if (!is_kept) {
    return absl::UnavailableError(
        "the service manager keeps no descriptors of this service "
        "(FileDescriptorStoreMax=)");
  }
  return absl::OkStatus();
}

absl::Status FdStore::Leave(const KeptFds& fds, int64_t paused_ns) {
  size_t over = 0;
  Status sent = Ok();
  for (const std::string& name : std::set<std::string>(stale_)) {
    if (sent.ok()) sent = Take(name);
  }
  for (const auto& [ref, fd] : fds) {
    if (!sent.ok()) break;
    const std::string name = absl::StrCat("kept.", ref);
    if (names_.contains(absl::StrCat("clone.", ref)) ||
        names_.contains(absl::StrCat("fs.", ref)) || names_.contains(name)) {
      continue;
    }
    if (names_.size() >= kMost) {
      ++over;
    } else {
      sent = Put(name, fd);
    }
  }
  if (sent.ok()) sent = manager_.Barrier(kPatience);
  const std::string text = absl::StrCat("paused_ns ", paused_ns, "\n", kLeft);
  struct stat st;
  if (sent.ok() && (fstat(list_.get(), &st) != 0 ||
                    pwrite(list_.get(), text.data(), text.size(), st.st_size) !=
                        static_cast<ssize_t>(text.size()))) {
    sent = LastErrno();
  }
  if (!sent.ok()) {
    return absl::UnavailableError(
        absl::StrCat("the service manager does not take the descriptors: ",
                     std::strerror(sent.error().value())));
  }
  if (over > 0) {
    Log(LogLevel::kWarning,
        absl::StrCat("the fd store is full: ", over,
                     " unlinked files or locks of files do not survive"));
  }
  return absl::OkStatus();
}

void FdStore::Forget() {
  for (const std::string& name : names_) (void)manager_.RemoveFds(name).ok();
  names_.clear();
  list_.reset();
  if (!note_.empty()) unlink(std::exchange(note_, "").c_str());
}

}  // namespace handlefs
