// The server's view of a transport, without one: packets whose answers are
// collected here.
#ifndef HANDLEFS_TEST_IO_FAKES_H_
#define HANDLEFS_TEST_IO_FAKES_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "io/transport.h"

namespace handlefs::test {

// Thread-safe. Outlives the packets and late replies that it gave out.
class Answers final : public io::ReplyPort {
 public:
  // What `Of` tells of a request that was ended by NoReply.
  static constexpr int kSilent = -1;

  io::Packet MakePacket(uint64_t unique) {
    abi::InHeader header{};
    header.unique = unique;
    return io::Packet{.raw = {.header = header, .fixed = {}, .tail = {}},
                      .token = MakeToken(unique)};
  }
  io::Token MakeToken(uint64_t unique) {
    std::lock_guard lock(mutex_);
    exchanges_.push_back(std::make_unique<Recorder>(this, unique));
    return io::Token(exchanges_.back().get(), Unique{unique});
  }
  io::LateReply MakeLateReply(uint64_t unique) {
    return io::LateReply(this, Unique{unique});
  }

  void SendHeader(const abi::OutHeader& header) override {
    Note(header.unique, -header.error);
  }

  // The errno of the answer, 0 for success; nothing while there is none.
  std::optional<int> Of(uint64_t unique) {
    std::lock_guard lock(mutex_);
    auto it = errors_.find(unique);
    if (it == errors_.end()) return std::nullopt;
    return it->second;
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return errors_.size();
  }
  // Requests that were answered a second time.
  size_t twice() {
    std::lock_guard lock(mutex_);
    return twice_;
  }

 private:
  class Recorder final : public io::Exchange {
   public:
    Recorder(Answers* answers, uint64_t unique)
        : answers_(answers), unique_(unique) {
      payload_ = room_;
    }
    void Finish(const abi::OutHeader& header) override {
      answers_->SendHeader(header);
    }
    void FinishSilently() override { answers_->Note(unique_, kSilent); }
    io::LateReply Release(Unique unique) override {
      return io::LateReply(answers_, unique);
    }

   private:
    Answers* const answers_;
    const uint64_t unique_;
    std::array<std::byte, 64> room_{};
  };

  void Note(uint64_t unique, int error) {
    std::lock_guard lock(mutex_);
    if (!errors_.emplace(unique, error).second) ++twice_;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Recorder>> exchanges_;
  std::map<uint64_t, int> errors_;
  size_t twice_ = 0;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_IO_FAKES_H_
