// Messages that are put together here: growing bytes, without alignment.
#ifndef HANDLEFS_TOOLS_STANDIN_BYTES_H_
#define HANDLEFS_TOOLS_STANDIN_BYTES_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "proto/cursor.h"

namespace handlefs::standin {

using proto::Bytes;
using Buffer = std::vector<std::byte>;

inline void PutBytes(Buffer& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
void Put(Buffer& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  PutBytes(out, std::as_bytes(std::span(&value, 1)));
}

// With its NUL.
inline void PutText(Buffer& out, std::string_view text) {
  PutBytes(out, std::as_bytes(std::span(text.data(), text.size())));
  out.push_back(std::byte{0});
}

// At the beginning of `out`, which is long enough.
template <typename T>
void Overwrite(Buffer& out, const T& value) {
  std::memcpy(out.data(), &value, sizeof(value));
}

template <typename... T>
Buffer Join(const T&... parts) {
  Buffer out;
  (Put(out, parts), ...);
  return out;
}

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_BYTES_H_
