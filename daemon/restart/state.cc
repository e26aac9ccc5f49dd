#include "daemon/restart/state.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "daemon/restart/journal.h"

namespace handlefs {
namespace {

constexpr std::array<char, 8> kMagic = {'h', 'f', 's', 't', 'a', 't', 'e', 0};
constexpr size_t kHeaderBytes = 4096;
constexpr uint32_t kHeadMagic = 0x68660000;  // and the kind below
// Of address space; memory is taken as it is touched.
constexpr size_t kTotalBytes = size_t{8} << 30;
constexpr size_t kJournalBytes = State::kJournalEntries * sizeof(JournalEntry);
constexpr size_t kCellsAt = kHeaderBytes + kJournalBytes;
constexpr size_t kStatsBytes = size_t{64} << 20;
constexpr size_t kStatsAt = kTotalBytes - kStatsBytes;
constexpr size_t kMostCells = (kStatsAt - kCellsAt) / 64;
static_assert(kCellsAt % 64 == 0);

}  // namespace

// What does not change once it is there, under a checksum.
struct Fixed {
  HashKey key;
  uint32_t has_session;
  uint32_t spare;
  SessionRecord session;
};

struct State::Header {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t sizes;  // of what is in here: builds that differ do not mix
  // Two copies, so that one is whole at any moment.
  std::atomic<uint32_t> current;
  std::atomic<uint32_t> cells;  // up to which the records reach
  std::array<uint64_t, 2> sums;
  Counters counters;
};

// In front of each record.
struct State::Head {
  std::atomic<uint32_t> kind;  // kHeadMagic | kind; 0: not valid
  uint16_t cells;
  uint16_t size;
  uint32_t sum;
  uint32_t spare;
  std::atomic<uint64_t> word;
};

namespace {

constexpr size_t kFixedAt = 1024;
static_assert(kFixedAt + 2 * sizeof(Fixed) <= kHeaderBytes);
constexpr uint32_t kSizes = static_cast<uint32_t>(
    sizeof(Fixed) * 31 + sizeof(JournalEntry) * 7 + sizeof(SessionRecord));

Fixed* FixedCopy(std::byte* base, uint32_t which) {
  return reinterpret_cast<Fixed*>(base + kFixedAt) + which % 2;
}

uint64_t SumOf(const Fixed& fixed) {
  return SipHash({0x68616e646c656673, State::kVersion},
                 std::as_bytes(std::span(&fixed, 1)));
}

}  // namespace

State::Header& State::header() const {
  return *reinterpret_cast<Header*>(base_);
}
State::Counters& State::counters() const { return header().counters; }

std::span<JournalEntry> State::journal() const {
  return {reinterpret_cast<JournalEntry*>(base_ + kHeaderBytes),
          kJournalEntries};
}

std::span<std::byte> State::stats_area() const {
  return {base_ + kStatsAt, kStatsBytes};
}

std::byte* State::CellAt(uint32_t index) const {
  return base_ + kCellsAt + size_t{index} * kCell;
}

State::Head& State::HeadAt(uint32_t index) const {
  return *reinterpret_cast<Head*>(CellAt(index));
}

absl::Status State::Map() {
  static_assert(sizeof(Header) <= kFixedAt);
  static_assert(sizeof(Head) + Vault::kMost <= kLongest * kCell);
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  void* at = mmap(nullptr, kTotalBytes, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE, memory_.get(), 0);
  if (at == MAP_FAILED) {
    return absl::ErrnoToStatus(errno, "cannot map the state");
  }
  base_ = static_cast<std::byte*>(at);
  return absl::OkStatus();
}

State::~State() {
  if (base_ != nullptr) munmap(base_, kTotalBytes);
}

absl::StatusOr<std::unique_ptr<State>> State::Create() {
  UniqueFd memory(
      memfd_create("handlefs-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory || ftruncate(memory.get(), kTotalBytes) != 0) {
    return absl::ErrnoToStatus(errno,
                               "cannot make the memory of the restart state");
  }
  std::unique_ptr<State> state(new State(std::move(memory)));
  if (absl::Status mapped = state->Map(); !mapped.ok()) return mapped;
  Fixed fixed{};
  if (getrandom(&fixed.key, sizeof(fixed.key), 0) != sizeof(fixed.key)) {
    return absl::ErrnoToStatus(errno, "cannot get random bytes");
  }
  *FixedCopy(state->base_, 0) = fixed;
  Header& header = state->header();
  header.magic = kMagic;
  header.version = kVersion;
  header.sizes = kSizes;
  header.sums[0] = SumOf(fixed);
  return state;
}

absl::StatusOr<std::unique_ptr<State>> State::Open(UniqueFd memory) {
  struct stat st;
  if (fstat(memory.get(), &st) != 0 ||
      static_cast<size_t>(st.st_size) != kTotalBytes) {
    return absl::FailedPreconditionError(
        "the restart state is not of this program: its size is another");
  }
  std::unique_ptr<State> state(new State(std::move(memory)));
  if (absl::Status mapped = state->Map(); !mapped.ok()) return mapped;
  const Header& header = state->header();
  if (header.magic != kMagic) {
    return absl::FailedPreconditionError(
        "the restart state is not of this program");
  }
  if (header.version != kVersion || header.sizes != kSizes) {
    return absl::FailedPreconditionError(
        absl::StrCat("the restart state has layout ", header.version, " (",
                     header.sizes, "), this program reads ", kVersion, " (",
                     kSizes, "): unmount and mount again to change versions"));
  }
  uint32_t current = header.current.load() % 2;
  if (SumOf(*FixedCopy(state->base_, current)) != header.sums[current]) {
    return absl::FailedPreconditionError(
        "the restart state is damaged: its checksum is wrong");
  }
  if (header.cells.load() > kMostCells) {
    return absl::FailedPreconditionError(
        "the restart state is damaged: it has more records than room");
  }
  return state;
}

const HashKey& State::key() const {
  return FixedCopy(base_, header().current.load())->key;
}

namespace {
// Changes the copy that is not in use, then puts it in use.
template <typename Change>
void ChangeFixed(std::byte* base, std::atomic<uint32_t>& current,
                 std::array<uint64_t, 2>& sums, Change change) {
  uint32_t next = current.load() + 1;
  Fixed& fixed = *FixedCopy(base, next);
  fixed = *FixedCopy(base, next - 1);
  change(fixed);
  sums[next % 2] = SumOf(fixed);
  current.store(next, std::memory_order_release);
}
}  // namespace

void State::SetKey(const HashKey& key) {
  ChangeFixed(base_, header().current, header().sums,
              [&](Fixed& fixed) { fixed.key = key; });
}

std::optional<SessionRecord> State::session() const {
  const Fixed& fixed = *FixedCopy(base_, header().current.load());
  if (fixed.has_session == 0) return std::nullopt;
  return fixed.session;
}

void State::SetSession(const SessionRecord& session) {
  ChangeFixed(base_, header().current, header().sums, [&](Fixed& fixed) {
    fixed.session = session;
    fixed.has_session = 1;
  });
}

uint32_t State::Sum(uint32_t index, uint32_t kind,
                    std::span<const std::byte> data) const {
  // Keyed, and over the place: names that clients make up cannot look like a
  // record inside a larger one.
  HashKey seeded = key();
  seeded[0] ^= uint64_t{index} << 32 | kind;
  return static_cast<uint32_t>(SipHash(seeded, data));
}

std::vector<State::Scanned> State::Scan() {
  std::vector<Scanned> out;
  absl::MutexLock lock(&mutex_);
  for (auto& runs : free_) runs.clear();
  counters().record_bytes = 0;
  const uint32_t end = header().cells.load();
  uint32_t run = 0;
  auto end_run = [&](uint32_t at) {
    mutex_.AssertHeld();
    while (run > 0) {
      auto part = std::min<uint32_t>(run, kLongest);
      std::memset(CellAt(at - run), 0, part * kCell);
      free_[part].push_back(at - run);
      run -= part;
    }
  };
  for (uint32_t i = 0; i < end;) {
    const Head& head = HeadAt(i);
    uint32_t kind = head.kind.load(std::memory_order_acquire);
    auto data = std::span(CellAt(i) + sizeof(Head),
                          std::min<size_t>(head.size, Vault::kMost));
    bool valid = (kind & 0xffff0000) == kHeadMagic && head.cells > 0 &&
                 head.cells <= kLongest && i + head.cells <= end &&
                 sizeof(Head) + head.size <= head.cells * kCell &&
                 head.sum == Sum(i, kind, data);
    if (!valid) {
      ++run;
      ++i;
      continue;
    }
    end_run(i);
    out.push_back({.ref = Vault::Ref{i + 1},
                   .kind = static_cast<Vault::Kind>(kind & 0xffff),
                   .data = {data.begin(), data.end()},
                   .word = head.word.load()});
    counters().record_bytes += head.cells * kCell;
    i += head.cells;
  }
  end_run(end);
  return out;
}

Vault::Ref State::Reserve(size_t size) {
  auto cells = static_cast<uint32_t>((sizeof(Head) + size + kCell - 1) / kCell);
  if (size > Vault::kMost) return Vault::kNoRef;
  absl::MutexLock lock(&mutex_);
  uint32_t index = 0;
  uint32_t have = cells;
  while (have <= kLongest && free_[have].empty()) ++have;
  if (have <= kLongest) {
    index = free_[have].back();
    free_[have].pop_back();
    if (have > cells) free_[have - cells].push_back(index + cells);
  } else {
    index = header().cells.load();
    if (index + cells > kMostCells) return Vault::kNoRef;
    header().cells.store(index + cells);
  }
  counters().record_bytes += cells * kCell;
  Head& head = HeadAt(index);
  head.cells = static_cast<uint16_t>(cells);
  head.word.store(0, std::memory_order_relaxed);
  return Vault::Ref{index + 1};
}

void State::Commit(Vault::Ref ref, Vault::Kind kind,
                   std::span<const std::byte> data) {
  uint32_t index = static_cast<uint32_t>(ref) - 1;
  Head& head = HeadAt(index);
  std::memcpy(CellAt(index) + sizeof(Head), data.data(), data.size());
  head.size = static_cast<uint16_t>(data.size());
  uint32_t value = kHeadMagic | static_cast<uint32_t>(kind);
  head.sum = Sum(index, value, data);
  head.kind.store(value, std::memory_order_release);
}

void State::Erase(Vault::Ref ref) {
  if (ref == Vault::kNoRef) return;
  uint32_t index = static_cast<uint32_t>(ref) - 1;
  Head& head = HeadAt(index);
  uint16_t cells = head.cells;
  head.kind.store(0, std::memory_order_release);
  std::memset(CellAt(index) + sizeof(Head), 0, cells * kCell - sizeof(Head));
  absl::MutexLock lock(&mutex_);
  free_[cells].push_back(index);
  counters().record_bytes -= cells * kCell;
}

std::atomic<uint64_t>* State::Word(Vault::Ref ref) {
  if (ref == Vault::kNoRef) return nullptr;
  return &HeadAt(static_cast<uint32_t>(ref) - 1).word;
}

}  // namespace handlefs
