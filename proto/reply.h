// Replies are written in place, into the payload area of the slot that the
// request came in: a struct by Put, data by Space and Use, directory pages by
// AddDirent. The 16-byte out header is made when the reply is sent.
//
// Rules of the kernel that are kept here: an error reply is a bare header with
// an error in -511..-1; the header's len is the number of bytes written.
#ifndef HANDLEFS_PROTO_REPLY_H_
#define HANDLEFS_PROTO_REPLY_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include "proto/abi.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs::proto {

class ReplyBuffer {
 public:
  ReplyBuffer() = default;
  explicit ReplyBuffer(std::span<std::byte> space) : space_(space) {}

  size_t size() const { return used_; }
  std::span<std::byte> Space() const { return space_.subspan(used_); }
  // Says that `n` bytes of Space() were written.
  void Use(size_t n) { used_ += n; }
  void Clear() { used_ = 0; }
  // Something was put that did not fit; nothing of it was written. Happens to
  // parts of a compound, which have the room that the kernel says.
  bool overflowed() const { return overflowed_; }
  // Takes the last `n` bytes back.
  void Shrink(size_t n) { used_ -= n; }
  std::span<std::byte> Written() const { return space_.first(used_); }
  // No op may produce more than this; a request's size field is clamped to it.
  size_t capacity() const { return space_.size(); }

  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    PutBytes(std::as_bytes(std::span(&value, 1)));
  }
  void PutBytes(std::span<const std::byte> bytes) {
    if (bytes.size() > space_.size() - used_) {
      overflowed_ = true;
      return;
    }
    if (bytes.empty()) return;
    std::memcpy(space_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
  }

 private:
  std::span<std::byte> space_;
  size_t used_ = 0;
  bool overflowed_ = false;
};

// ENOSYS and friends are below 512; the kernel refuses a write with any other
// number, which would leave the caller hanging. Such errors become EIO.
constexpr int32_t WireError(Errno error) {
  return error.value() < 512 ? -error.value() : -EIO;
}

constexpr abi::OutHeader MakeOutHeader(Unique unique, size_t payload) {
  return {.len = static_cast<uint32_t>(sizeof(abi::OutHeader) + payload),
          .error = 0,
          .unique = Raw(unique)};
}
constexpr abi::OutHeader MakeErrorHeader(Unique unique, Errno error) {
  return {.len = sizeof(abi::OutHeader),
          .error = WireError(error),
          .unique = Raw(unique)};
}

// Bytes that an entry takes in a READDIR or READDIRPLUS reply.
constexpr size_t DirentSize(size_t name) {
  return (sizeof(abi::Dirent) + name + 7) & ~size_t{7};
}
constexpr size_t DirentplusSize(size_t name) {
  return (sizeof(abi::Direntplus) + name + 7) & ~size_t{7};
}

struct DirEntry {
  uint64_t ino;
  uint64_t off;   // where the entry behind this one begins
  uint32_t type;  // DT_*
  std::string_view name;
};

// Adds one entry if it fits into `limit` bytes in all, and into the buffer;
// false if it does not.
bool AddDirent(ReplyBuffer& out, size_t limit, const DirEntry& entry);
// `node` with nodeid 0 lists the name without making an inode of it.
bool AddDirentplus(ReplyBuffer& out, size_t limit, const DirEntry& entry,
                   const abi::EntryOut& node);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_REPLY_H_
