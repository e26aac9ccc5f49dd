#include "daemon/xattr_at.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>

namespace handlefs {
namespace {

// The same on every architecture; younger than Debian 12's headers.
constexpr long kSetxattrat = 463;
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;
constexpr long kRemovexattrat = 466;

struct XattrArgs {
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

std::atomic<bool> has_xattrat{true};

// The call's result, or nothing where the kernel does not have it.
template <typename... Args>
bool TryAt(long* rc, long number, Args... args) {
  if (!has_xattrat.load(std::memory_order_relaxed)) return false;
  *rc = syscall(number, args...);
  if (*rc < 0 && errno == ENOSYS) {
    has_xattrat.store(false, std::memory_order_relaxed);
    return false;
  }
  return true;
}

struct ProcPath {
  explicit ProcPath(BorrowedFd fd) {
    std::snprintf(text, sizeof(text), "/proc/self/fd/%d", fd.get());
  }
  const char* name() const { return text + sizeof("/proc/self/fd/") - 1; }
  char text[32];
};

Result<size_t> Size(long rc) {
  if (rc < 0) return LastErrno();
  return static_cast<size_t>(rc);
}

uint64_t Address(const void* p) { return reinterpret_cast<uint64_t>(p); }

}  // namespace

Status SetXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name,
                  std::span<const std::byte> value, int flags) {
  XattrArgs args{Address(value.data()), static_cast<uint32_t>(value.size()),
                 static_cast<uint32_t>(flags)};
  long rc;
  if (TryAt(&rc, kSetxattrat, proc_fds.get(), ProcPath(fd).name(), 0, name,
            &args, sizeof(args))) {
    return Check(rc);
  }
  return Check(
      setxattr(ProcPath(fd).text, name, value.data(), value.size(), flags));
}

Result<size_t> GetXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name,
                          std::span<std::byte> out) {
  XattrArgs args{Address(out.data()), static_cast<uint32_t>(out.size()), 0};
  if (out.empty()) args.value = 0;
  long rc;
  if (TryAt(&rc, kGetxattrat, proc_fds.get(), ProcPath(fd).name(), 0, name,
            &args, sizeof(args))) {
    return Size(rc);
  }
  return Size(getxattr(ProcPath(fd).text, name, out.data(), out.size()));
}

Result<size_t> GetXattr(BorrowedFd fd, const char* name,
                        std::span<std::byte> out) {
  return Size(fgetxattr(fd.get(), name, out.data(), out.size()));
}

Result<size_t> ListXattrAt(BorrowedFd proc_fds, BorrowedFd fd,
                           std::span<std::byte> out) {
  long rc;
  if (TryAt(&rc, kListxattrat, proc_fds.get(), ProcPath(fd).name(), 0,
            out.empty() ? nullptr : out.data(), out.size())) {
    return Size(rc);
  }
  return Size(listxattr(ProcPath(fd).text, reinterpret_cast<char*>(out.data()),
                        out.size()));
}

Status RemoveXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name) {
  long rc;
  if (TryAt(&rc, kRemovexattrat, proc_fds.get(), ProcPath(fd).name(), 0,
            name)) {
    return Check(rc);
  }
  return Check(removexattr(ProcPath(fd).text, name));
}

}  // namespace handlefs
