// A request as the kernel would send it, and, since tests need those too, as it
// never would.
#ifndef HANDLEFS_TEST_WIRE_MESSAGE_H_
#define HANDLEFS_TEST_WIRE_MESSAGE_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/abi.h"
#include "proto/base/ids.h"
#include "proto/opcode.h"

namespace handlefs::test {

class Message {
 public:
  Message(uint32_t opcode, uint64_t nodeid) {
    header_.opcode = opcode;
    header_.nodeid = nodeid;
  }
  Message(proto::Opcode op, uint64_t nodeid)
      : Message(static_cast<uint32_t>(op), nodeid) {}

  // The fixed part; then names and data, in the order of the row.
  template <typename T>
  Message& Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    body_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Message& Name(std::string_view name) {
    body_.append(name);
    body_.push_back('\0');
    return *this;
  }
  Message& Data(std::string_view bytes) {
    body_.append(bytes);
    return *this;
  }
  // A whole extension record, 8-aligned.
  Message& Extension(uint32_t type, std::string_view body) {
    abi::ExtHeader head{
        .size = static_cast<uint32_t>((8 + body.size() + 7) & ~7u),
        .type = type};
    extensions_.append(reinterpret_cast<const char*>(&head), sizeof(head));
    extensions_.append(body);
    extensions_.resize((extensions_.size() + 7) & ~size_t{7});
    return *this;
  }
  Message& As(uint32_t uid, uint32_t gid, uint32_t pid) {
    header_.uid = uid;
    header_.gid = gid;
    header_.pid = pid;
    return *this;
  }

  // What the header says, where it shall not be the truth.
  Message& SayLength(uint32_t len) {
    said_length_ = len;
    return *this;
  }
  Message& SayExtensions(uint16_t units) {
    said_extensions_ = units;
    return *this;
  }
  Message& Cut(size_t body) {
    body_.resize(body);
    return *this;
  }
  Message& WithUnique(uint64_t unique) {
    header_.unique = unique;
    return *this;
  }

  uint32_t opcode() const { return header_.opcode; }
  uint64_t unique() const { return header_.unique; }
  size_t body_size() const { return body_.size(); }
  std::string Encode() const {
    abi::InHeader header = header_;
    size_t size = sizeof(header) + body_.size() + extensions_.size();
    header.len = said_length_.value_or(static_cast<uint32_t>(size));
    header.total_extlen = said_extensions_.value_or(
        static_cast<uint16_t>(extensions_.size() / 8));
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
    return bytes + body_ + extensions_;
  }

 private:
  abi::InHeader header_{};
  std::string body_;
  std::string extensions_;
  std::optional<uint32_t> said_length_;
  std::optional<uint16_t> said_extensions_;
};

// The answer to one request; `error` is a positive errno, 0 for success.
struct Answer {
  uint64_t unique = 0;
  int error = 0;
  std::string payload;

  bool ok() const { return error == 0; }
  // The struct at `at`; zero where the payload ends earlier.
  template <typename T>
  T Get(size_t at = 0) const {
    T value{};
    if (at + sizeof(T) <= payload.size()) {
      std::memcpy(&value, payload.data() + at, sizeof(T));
    }
    return value;
  }
};

struct ListedEntry {
  abi::EntryOut node{};  // of READDIRPLUS
  abi::Dirent dirent{};
  std::string name;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_MESSAGE_H_
