#include "handles/host_handle.h"

#include <fcntl.h>

namespace handlefs {
namespace {

// struct file_handle with room for the largest handle.
struct Buffer {
  alignas(file_handle) std::byte raw[sizeof(file_handle) + HostHandle::kMax];
  file_handle* get() { return reinterpret_cast<file_handle*>(raw); }
};

}  // namespace

Result<HandleAt> NameToHandle(BorrowedFd dir, const char* name) {
  Buffer buffer;
  file_handle* raw = buffer.get();
  raw->handle_bytes = HostHandle::kMax;
  HandleAt out;
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
  UniqueFd fd(open_by_handle_at(mount.get(), raw, flags | O_CLOEXEC));
  if (!fd) return LastErrno();
  return fd;
}

}  // namespace handlefs
