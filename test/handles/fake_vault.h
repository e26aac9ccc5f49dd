// A vault whose servers come and go within one process. What it holds are
// duplicates, as a keeper's are.
#ifndef HANDLEFS_TEST_HANDLES_FAKE_VAULT_H_
#define HANDLEFS_TEST_HANDLES_FAKE_VAULT_H_

#include <fcntl.h>

#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "io/base/vault.h"

namespace handlefs::test {

class FakeVault final : public Vault {
 public:
  Ref Put(Kind kind, std::span<const std::byte> data, BorrowedFd fd) override {
    if (is_full) return kNoRef;
    uint32_t number = ++last_;
    Record& record = records_[number];
    record.kind = kind;
    record.data.assign(data.begin(), data.end());
    record.fd = Copy(fd);
    return Ref{number};
  }
  void Keep(Ref ref, BorrowedFd fd) override {
    if (ref != kNoRef) records_.at(Number(ref)).fd = Copy(fd);
  }
  void Erase(Ref ref) override {
    auto it = records_.find(Number(ref));
    if (it == records_.end()) return;
    // The keeper hears of it later.
    late_.push_back(std::move(it->second.fd));
    records_.erase(it);
  }
  std::atomic<uint64_t>* Word(Ref ref) override {
    return ref == kNoRef ? nullptr : &records_.at(Number(ref)).word;
  }
  std::vector<Item> Inherited(Kind kind) override {
    std::vector<Item> out;
    for (auto& [number, record] : records_) {
      if (record.kind != kind) continue;
      out.push_back({.ref = Ref{number},
                     .data = record.data,
                     .word = record.word.load(),
                     .fd = Copy(record.fd)});
    }
    return out;
  }

  // For tests.
  size_t Count(Kind kind) const {
    size_t n = 0;
    for (const auto& [number, record] : records_) n += record.kind == kind;
    return n;
  }
  size_t fds() const {
    size_t n = 0;
    for (const auto& [number, record] : records_) {
      n += record.fd ? size_t{1} : size_t{0};
    }
    return n;
  }
  // The keeper lost them.
  void DropFds() {
    late_.clear();
    for (auto& [number, record] : records_) record.fd.reset();
  }
  bool is_full = false;

 private:
  struct Record {
    Kind kind = Kind::kOpenFile;
    std::vector<std::byte> data;
    std::atomic<uint64_t> word{0};
    UniqueFd fd;
  };
  static uint32_t Number(Ref ref) { return static_cast<uint32_t>(ref); }
  static UniqueFd Copy(BorrowedFd fd) {
    return fd ? UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)) : UniqueFd();
  }
  uint32_t last_ = 0;
  std::vector<UniqueFd> late_;
  std::map<uint32_t, Record> records_;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_HANDLES_FAKE_VAULT_H_
