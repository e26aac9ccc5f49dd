// Compounds as a kernel sends and reads them, in each of the framings. Written
// from the wire's description, apart from the parser under test.
#ifndef HANDLEFS_TEST_WIRE_CHAIN_H_
#define HANDLEFS_TEST_WIRE_CHAIN_H_

#include <optional>
#include <string>
#include <vector>

#include "served.h"

namespace handlefs::test {

enum class Framing { kV5, kV6, kDev, kV7 };

class Chain {
 public:
  static constexpr uint32_t kSeparable = 1;
  static constexpr uint32_t kAtomicV5 = 2;
  static constexpr uint32_t kContinueV6 = 2;
  static constexpr uint32_t kAtomicV6 = 4;
  static constexpr int kNone = -1;

  explicit Chain(Framing framing, uint32_t flags = 0)
      : framing_(framing), flags_(flags) {}

  // `result` is the size of the payload that the kernel has room for.
  // `depends_on` is put on the wire where the framing has a place for it.
  Chain& Add(Message sub, uint32_t result, int depends_on = kNone);
  // What the kernel sends for a lookup, an open and a create.
  Chain& LookupHandle(uint64_t dir, std::string_view name,
                      std::string_view handle = {});
  Chain& Statx(uint64_t node);
  Chain& Getattr(uint64_t node, int depends_on = kNone);
  Chain& Open(uint64_t node, uint32_t flags);
  Chain& Mkobj(uint64_t dir, std::string_view name, uint32_t flags,
               uint32_t mode);

  // Bytes behind the chain that belong to nothing.
  Chain& Junk(std::string_view bytes) {
    junk_ += bytes;
    return *this;
  }
  Chain& SayCount(uint32_t count) {
    count_ = count;
    return *this;
  }
  Chain& SayResultSize(uint32_t size) {
    result_size_ = size;
    return *this;
  }
  Message Encode() const;
  size_t count() const { return subs_.size(); }

 private:
  const Framing framing_;
  const uint32_t flags_;
  std::vector<std::string> subs_;
  uint32_t result_size_ = 0;
  std::optional<uint32_t> count_;
  std::string junk_;
};

// The answers of the subs; throws if the reply is not made of exactly `count`.
std::vector<Answer> Subs(const Answer& reply, Framing framing, size_t count);

// A handle extension's body.
std::string HandleBody(std::string_view handle);
// The handle in a LOOKUP_HANDLE or MKOBJ_HANDLE payload.
std::string HandleIn(const Answer& sub, size_t at = sizeof(abi::Entry2Out));

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_CHAIN_H_
