#include "daemon/restart/kept.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "daemon/log.h"

namespace handlefs {

Kept::Kept(State& state, BorrowedFd keeper, const KeptFds& fds)
    : state_(state), keeper_(keeper) {
  absl::MutexLock lock(&mutex_);
  scanned_ = state.Scan();
  absl::flat_hash_set<uint32_t> valid;
  for (const State::Scanned& record : scanned_) {
    auto ref = static_cast<uint32_t>(record.ref);
    valid.insert(ref);
    auto it = fds.find(ref);
    if (it == fds.end()) continue;
    UniqueFd copy(fcntl(it->second.get(), F_DUPFD_CLOEXEC, 0));
    given_[ref] = copy.get();
    inherited_[ref] = std::move(copy);
  }
  // Of servers that were killed before they had made the record, or before they
  // said that it was gone: whatever comes to its place has another one, or
  // none.
  for (const auto& [ref, fd] : fds) {
    if (!valid.contains(ref)) {
      Tell({.what = KeeperMessage::What::kDrop, .value = ref}, {});
    }
  }
}

void Kept::Tell(const KeeperMessage& message, BorrowedFd fd) {
  Status sent = SendMessage(keeper_, message, fd);
  if (sent.ok()) return;
  Miss(absl::StrCat("the keeper takes no descriptors (",
                    std::strerror(sent.error().value()), ")"));
}

void Kept::Miss(const std::string& why) {
  if (missed_.fetch_add(1, std::memory_order_relaxed) > 0) return;
  Log(LogLevel::kWarning,
      absl::StrCat(why,
                   ": some open or unlinked files, or locks, end with "
                   "this server"));
}

Vault::Ref Kept::Put(Kind kind, std::span<const std::byte> data,
                     BorrowedFd fd) {
  Ref ref = state_.Reserve(data.size());
  if (ref == kNoRef) {
    Miss("the restart state is full");
    return ref;
  }
  if (fd) Give(ref, static_cast<uint32_t>(kind), fd);
  state_.Commit(ref, kind, data);
  return ref;
}

void Kept::Keep(Ref ref, BorrowedFd fd) {
  if (ref != kNoRef) Give(ref, 0, fd);
}

void Kept::Give(Ref ref, uint32_t kind, BorrowedFd fd) {
  auto number = static_cast<uint32_t>(ref);
  absl::MutexLock lock(&mutex_);
  given_[number] = fd.get();
  Tell({.what = KeeperMessage::What::kKeep, .kind = kind, .value = number}, fd);
}

void Kept::GiveAgain() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [ref, fd] : given_) {
    Tell({.what = KeeperMessage::What::kKeep, .value = ref}, BorrowedFd(fd));
  }
}

void Kept::Erase(Ref ref) {
  if (ref == kNoRef) return;
  {
    absl::MutexLock lock(&mutex_);
    // Before the record's place can be taken by another: the keeper is told of
    // both in this order.
    if (given_.erase(static_cast<uint32_t>(ref)) > 0) {
      Tell({.what = KeeperMessage::What::kDrop,
            .value = static_cast<uint32_t>(ref)},
           {});
    }
  }
  state_.Erase(ref);
}

std::vector<Vault::Item> Kept::Inherited(Kind kind) {
  absl::MutexLock lock(&mutex_);
  std::vector<Item> out;
  for (State::Scanned& record : scanned_) {
    if (record.kind != kind) continue;
    Item item{.ref = record.ref,
              .data = std::move(record.data),
              .word = record.word,
              .fd = {}};
    auto it = inherited_.find(static_cast<uint32_t>(record.ref));
    if (it != inherited_.end()) {
      item.fd = std::move(it->second);
      inherited_.erase(it);
    }
    out.push_back(std::move(item));
  }
  std::erase_if(scanned_,
                [&](const State::Scanned& r) { return r.kind == kind; });
  return out;
}

}  // namespace handlefs
