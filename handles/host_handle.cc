#include "handles/host_handle.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace handlefs {
namespace {

// struct file_handle with room for the largest handle.
struct Buffer {
  alignas(file_handle) std::byte raw[sizeof(file_handle) + HostHandle::kMax];
  file_handle* get() { return reinterpret_cast<file_handle*>(raw); }
};

// ext4 says ENOMEM to a handle whose inode number is just being given to a new
// file (seen with Linux 6.18): for some microseconds, for milliseconds where
// whoever makes it has to wait. Memory that is really short stays short.
constexpr int kTriesAtOnce = 64;
constexpr int kMostTries = 256;
constexpr useconds_t kPause = 100;

bool MayPass(int tries) {
  if (errno != ENOMEM || tries == kMostTries) return false;
  if (tries < kTriesAtOnce) {
    sched_yield();
  } else {
    usleep(kPause);
  }
  return true;
}

}  // namespace

Result<HandleAt> NameToHandle(BorrowedFd dir, const char* name) {
  Buffer buffer;
  file_handle* raw = buffer.get();
  raw->handle_bytes = HostHandle::kMax;
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  HandleAt out;
  out.began_ns = now.tv_sec * 1000000000 + now.tv_nsec;
  int flags = *name == '\0' ? AT_EMPTY_PATH : 0;
  if (name_to_handle_at(dir.get(), name, raw, &out.mount_id, flags) != 0) {
    return LastErrno();
  }
  out.handle.type = raw->handle_type;
  out.handle.size = static_cast<uint8_t>(raw->handle_bytes);
  std::memcpy(out.handle.bytes.data(), raw->f_handle, raw->handle_bytes);
  return out;
}

Result<UniqueFd> OpenByHandle(BorrowedFd mount, const HostHandle& handle,
                              int flags) {
  Buffer buffer;
  file_handle* raw = buffer.get();
  raw->handle_bytes = handle.size;
  raw->handle_type = handle.type;
  std::memcpy(raw->f_handle, handle.bytes.data(), handle.size);
  int tries = 0;
  while (true) {
    UniqueFd fd(open_by_handle_at(mount.get(), raw, flags | O_CLOEXEC));
    if (fd) return fd;
    if (!MayPass(tries++)) return LastErrno();
  }
}

}  // namespace handlefs
