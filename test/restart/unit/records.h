// Records of the State as a test makes them up, and what is in memory of them.
#ifndef HANDLEFS_TEST_RESTART_RECORDS_H_
#define HANDLEFS_TEST_RESTART_RECORDS_H_

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "daemon/restart/state.h"

namespace handlefs::test {

using Bytes = std::vector<std::byte>;

inline Bytes BytesOf(const std::string& text) {
  auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Bytes that differ from record to record.
inline Bytes Content(uint64_t number, size_t size) {
  Bytes out(size);
  uint64_t value = number * 0x9e3779b97f4a7c15u + 1;
  for (std::byte& byte : out) {
    value ^= value << 13, value ^= value >> 7, value ^= value << 17;
    byte = static_cast<std::byte>(value);
  }
  return out;
}

// What a record is, wherever it lies.
struct Record {
  Vault::Kind kind = Vault::Kind::kOpenFile;
  Bytes data;
  uint64_t word = 0;
  friend bool operator==(const Record&, const Record&) = default;
  friend bool operator<(const Record& a, const Record& b) {
    return std::tie(a.kind, a.data, a.word) < std::tie(b.kind, b.data, b.word);
  }
};

using ByRef = std::map<uint32_t, Record>;

inline ByRef ScanOf(State& state) {
  ByRef out;
  for (State::Scanned& found : state.Scan()) {
    Record record{found.kind, std::move(found.data), found.word};
    bool fresh =
        out.emplace(static_cast<uint32_t>(found.ref), std::move(record)).second;
    REQUIRE(fresh);
  }
  return out;
}

inline UniqueFd Copy(BorrowedFd fd) {
  return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
}

// As the next server opens it.
inline std::unique_ptr<State> Reopen(const State& state) {
  auto opened = State::Open(Copy(state.memory()));
  INFO(opened.status().ToString());
  REQUIRE(opened.ok());
  return *std::move(opened);
}

inline std::unique_ptr<State> NewState() {
  auto made = State::Create();
  REQUIRE(made.ok());
  return *std::move(made);
}

// The bytes of a memory, to be damaged.
class Raw {
 public:
  explicit Raw(BorrowedFd memory) {
    void* at = mmap(nullptr, kLooked, PROT_READ | PROT_WRITE, MAP_SHARED,
                    memory.get(), 0);
    REQUIRE(at != MAP_FAILED);
    base_ = static_cast<std::byte*>(at);
  }
  ~Raw() { munmap(base_, kLooked); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  std::span<std::byte> all() const { return {base_, kLooked}; }
  // Where these bytes are, which are there once from `from` on.
  size_t Find(const Bytes& what, size_t from = 0) const {
    auto end = base_ + kLooked;
    auto at = std::search(base_ + from, end, what.begin(), what.end());
    REQUIRE(at != end);
    return static_cast<size_t>(at - base_);
  }

 private:
  // More than the tests fill.
  static constexpr size_t kLooked = 8 << 20;
  std::byte* base_ = nullptr;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_RESTART_RECORDS_H_
