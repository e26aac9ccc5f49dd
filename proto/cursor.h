// The only place where wire bytes become types. Everything is copied, so
// alignment does not matter (sub requests of a compound and extensions are
// unaligned), and every read is bounds-checked. Nothing here allocates.
//
// What ZString and the spans refer to is the request buffer: they live as long
// as it does, and a ZString is followed by its NUL, so c_str() needs no copy.
#ifndef HANDLEFS_PROTO_CURSOR_H_
#define HANDLEFS_PROTO_CURSOR_H_

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "proto/base/errno.h"
#include "proto/base/ids.h"
#include "proto/opcode.h"

namespace handlefs::proto {

using Bytes = std::span<const std::byte>;

// A NUL-terminated string inside the request buffer.
class ZString {
 public:
  constexpr ZString() = default;
  const char* c_str() const { return data_; }
  std::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }

 private:
  friend class Cursor;
  constexpr ZString(const char* data, size_t size) : data_(data), size_(size) {}
  const char* data_ = "";
  size_t size_ = 0;
};

class Cursor {
 public:
  explicit Cursor(Bytes bytes) : rest_(bytes) {}

  // The next sizeof(T) bytes; nothing if there are fewer.
  template <typename T>
  std::optional<T> Take() {
    static_assert(std::is_trivially_copyable_v<T>);
    if (rest_.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  std::optional<Bytes> TakeBytes(size_t n) {
    if (rest_.size() < n) return std::nullopt;
    Bytes taken = rest_.first(n);
    rest_ = rest_.subspan(n);
    return taken;
  }
  // The string up to the next NUL. EINVAL: no NUL, or not a valid name for a
  // component (empty, '/', "." or ".." where they may not come). ENAMETOOLONG:
  // a component of more than 255 bytes.
  Result<ZString> TakeText(Text kind);

  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

// What may follow the arguments of a request, in any order, each at most once;
// but a second handle for the request's other node.
struct Extensions {
  struct SecurityContext {
    ZString name;  // the xattr name, "security.selinux"
    Bytes value;
  };
  std::optional<SecurityContext> secctx;
  std::optional<uint32_t> group;  // the caller's one group that matters
  std::optional<Bytes> handle;    // of the node; empty for the root
  std::optional<Bytes> handle2;   // of the request's other node
};

// `area` is the whole extension area. Unknown record types are skipped.
// EINVAL: a record that does not fit its size or its type's rules, or a second
// one of the same type.
Result<Extensions> ParseExtensions(Bytes area);

// A request as the handlers see it.
template <Opcode kOp>
struct Request {
  static constexpr Opcode kOpcode = kOp;
  abi::InHeader header;
  Fixed<kOp> in;
  ZString text;   // first string of the row
  ZString text2;  // second string of the row
  Bytes data;     // up to the end, where the row says so
  Extensions ext;

  NodeId node() const { return NodeId{header.nodeid}; }
};

// The parts that the transport hands over: `fixed` is what /dev/fuse has behind
// the header up to the row's fixed_in, or the ring entry's op_in; `tail` is the
// rest.
struct RawRequest {
  // Where the extensions are: in the last total_extlen units of 8 bytes, or, in
  // the subs of a compound, behind the texts (whatever total_extlen says).
  enum class ExtPlace : uint8_t { kByHeader, kRest };
  abi::InHeader header;
  Bytes fixed;
  Bytes tail;
  ExtPlace ext_place = ExtPlace::kByHeader;
};

// Splits header-and-body bytes as read from /dev/fuse. EINVAL: too short for a
// header, or header.len is not the number of bytes. `setxattr_size` is 8 on a
// connection without SETXATTR_EXT.
Result<RawRequest> Split(Bytes message, size_t setxattr_size);

namespace internal {
struct Parts {
  ZString text;
  ZString text2;
  Bytes data;
  Extensions ext;
};
Result<Parts> DecodeTail(const OpRow& row, const RawRequest& raw);
}  // namespace internal

// EINVAL: too short, too long, or a malformed string or extension.
template <Opcode kOp>
Result<Request<kOp>> Decode(const RawRequest& raw) {
  constexpr const OpRow& row = RowOf(kOp);
  constexpr size_t size = kFixedSize<kOp>;
  static_assert(row.fixed_in == size);
  Request<kOp> request{};
  request.header = raw.header;
  if constexpr (size != 0) {
    // SETXATTR is 8 bytes long without SETXATTR_EXT and INIT of old kernels is
    // shorter; the fields that did not come are zero.
    constexpr bool may_be_short =
        (row.flags & kShortFixed) != 0 || kOp == Opcode::kSetxattr;
    if (raw.fixed.size() > size) return Errno(EINVAL);
    if (raw.fixed.size() < (may_be_short ? 8 : size)) return Errno(EINVAL);
    std::memcpy(&request.in, raw.fixed.data(), raw.fixed.size());
  }
  ASSIGN_OR_RETURN(internal::Parts parts, internal::DecodeTail(row, raw));
  request.text = parts.text;
  request.text2 = parts.text2;
  request.data = parts.data;
  request.ext = parts.ext;
  return request;
}

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_CURSOR_H_
