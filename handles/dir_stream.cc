#include "handles/dir_stream.h"

#include <dirent.h>
#include <unistd.h>

#include <cstring>

namespace handlefs {
namespace {
constexpr size_t kBuffer = 32768;

const dirent64* At(const std::byte* buffer, size_t offset) {
  return reinterpret_cast<const dirent64*>(buffer + offset);
}
}  // namespace

Status DirStream::Seek(BorrowedFd dir, uint64_t offset) {
  if (offset == offset_ && (offset != 0 || begin_ != 0)) return Ok();
  // A refused seek leaves everything as it was, what is buffered too.
  if (lseek(dir.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    return LastErrno();
  }
  begin_ = end_ = 0;
  offset_ = offset;
  return Ok();
}

Result<std::optional<DirStream::Item>> DirStream::Peek(BorrowedFd dir) {
  if (begin_ == end_) {
    if (!buffer_) {
      buffer_ = std::make_unique_for_overwrite<std::byte[]>(kBuffer);
    }
    ssize_t n = getdents64(dir.get(), buffer_.get(), kBuffer);
    // ext4 (6.18) takes a directory that was read at its end first for read
    // when it is rewound, once: what a new server does that goes on with a
    // listing. Every directory that is there has entries.
    if (n == 0 && offset_ == 0 && lseek(dir.get(), 0, SEEK_SET) == 0) {
      n = getdents64(dir.get(), buffer_.get(), kBuffer);
    }
    // A directory that was removed while it was open reads as empty.
    if (n < 0 && errno == ENOENT) n = 0;
    if (n < 0) return LastErrno();
    begin_ = 0;
    end_ = static_cast<size_t>(n);
    if (n == 0) {
      buffer_.reset();
      return std::optional<Item>();
    }
  }
  const dirent64* entry = At(buffer_.get(), begin_);
  return std::optional<Item>(Item{.ino = entry->d_ino,
                                  .next = static_cast<uint64_t>(entry->d_off),
                                  .type = entry->d_type,
                                  .name = entry->d_name,
                                  .name_size = std::strlen(entry->d_name)});
}

void DirStream::Advance() {
  const dirent64* entry = At(buffer_.get(), begin_);
  offset_ = static_cast<uint64_t>(entry->d_off);
  begin_ += entry->d_reclen;
}

}  // namespace handlefs
