// Reads a host directory in the way the kernel asks: from any offset that was
// handed out, again and again. Offsets are the host's d_off, so they mean the
// same to every server. Not thread-safe: one open directory, one stream, under
// its lock.
#ifndef HANDLEFS_HANDLES_DIR_STREAM_H_
#define HANDLEFS_HANDLES_DIR_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

class DirStream {
 public:
  struct Item {
    uint64_t ino;
    uint64_t next;  // the offset behind this entry
    uint8_t type;   // DT_*
    const char* name;
    size_t name_size;
  };

  // Continues at `offset`; 0 begins anew and sees what has changed.
  Status Seek(BorrowedFd dir, uint64_t offset);
  // The entry at the current offset; nothing at the end. Valid until Seek or
  // the Peek after an Advance.
  Result<std::optional<Item>> Peek(BorrowedFd dir);
  void Advance();

 private:
  std::unique_ptr<std::byte[]> buffer_;  // only while it holds entries
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_DIR_STREAM_H_
