// Where things go that must outlive the server: records in memory that its
// successor maps, and descriptors that the keeper holds. A record may have one
// descriptor; both go with Erase. Thread-safe.
//
// What a killed server had not finished is not there: a record is seen whole or
// not at all, and its descriptor is with the keeper before the record is seen.
#ifndef HANDLEFS_IO_BASE_VAULT_H_
#define HANDLEFS_IO_BASE_VAULT_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "io/base/fd.h"

namespace handlefs {

class Vault {
 public:
  // Numbers are part of the layout.
  enum class Kind : uint16_t {
    kOpenFile = 1,
    kPin = 2,
    kLockOwner = 3,
    kNode = 4,
    kFileSystem = 5,
    kClone = 6,
  };
  // A record; kNoRef where the vault is full: what it was for is then lost with
  // the server, and everything else goes on.
  enum class Ref : uint32_t {};
  static constexpr Ref kNoRef{0};

  // What an earlier server left.
  struct Item {
    Ref ref = kNoRef;
    std::vector<std::byte> data;
    uint64_t word = 0;
    UniqueFd fd;  // none if it had none
  };

  virtual ~Vault() = default;
  // Up to kMost bytes.
  virtual Ref Put(Kind kind, std::span<const std::byte> data,
                  BorrowedFd fd) = 0;
  // A record's descriptor, later.
  virtual void Keep(Ref ref, BorrowedFd fd) = 0;
  virtual void Erase(Ref ref) = 0;
  // One number of a record that changes in place; null for kNoRef.
  virtual std::atomic<uint64_t>* Word(Ref ref) = 0;
  // Everything of a kind that is there when the server starts; once.
  virtual std::vector<Item> Inherited(Kind kind) = 0;

  static constexpr size_t kMost = 480;

  // `record` is a plain struct without padding that matters.
  template <typename T>
  Ref PutStruct(Kind kind, const T& record, BorrowedFd fd = {}) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kMost);
    return Put(kind, std::as_bytes(std::span(&record, 1)), fd);
  }
  // False: it is not of that size.
  template <typename T>
  static bool Read(const Item& item, T& out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (item.data.size() != sizeof(T)) return false;
    std::memcpy(&out, item.data.data(), sizeof(T));
    return true;
  }
};

}  // namespace handlefs

#endif  // HANDLEFS_IO_BASE_VAULT_H_
