// The server's end of what outlives it: records go into the State, descriptors
// to the keeper. See io/base/vault.h for the promises.
#ifndef HANDLEFS_DAEMON_RESTART_KEPT_H_
#define HANDLEFS_DAEMON_RESTART_KEPT_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "daemon/restart/messages.h"
#include "daemon/restart/state.h"
#include "io/base/vault.h"

namespace handlefs {

// Descriptors that the keeper holds, by record.
using KeptFds = std::map<uint32_t, UniqueFd>;

class Kept final : public Vault {
 public:
  // `state` outlives it. `fds` is what the keeper holds; duplicates are taken.
  Kept(State& state, BorrowedFd keeper, const KeptFds& fds);

  Ref Put(Kind kind, std::span<const std::byte> data, BorrowedFd fd) override;
  void Keep(Ref ref, BorrowedFd fd) override;
  void Erase(Ref ref) override;
  std::atomic<uint64_t>* Word(Ref ref) override { return state_.Word(ref); }
  std::vector<Item> Inherited(Kind kind) override;

  // Another keeper took the place of the one that died, at the same descriptor:
  // it is given everything again.
  void GiveAgain();
  // Descriptors and records that will not outlive the server; the first is
  // logged.
  uint64_t missed() const { return missed_.load(); }

 private:
  void Tell(const KeeperMessage& message, BorrowedFd fd);
  void Miss(const std::string& why);
  void Give(Ref ref, uint32_t kind, BorrowedFd fd);

  State& state_;
  const BorrowedFd keeper_;
  std::atomic<uint64_t> missed_{0};
  absl::Mutex mutex_;
  std::vector<State::Scanned> scanned_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, UniqueFd> inherited_ ABSL_GUARDED_BY(mutex_);
  // The descriptors that the keeper has, by record. They belong to whoever put
  // them here, who closes them after Erase.
  absl::flat_hash_map<uint32_t, int> given_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_KEPT_H_
