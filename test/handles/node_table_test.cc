// NodeTable against a map.
#include "handles/node_table.h"

#include <fcntl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "support.h"

namespace handlefs::test {
namespace {

constexpr HashKey kKey = {0x1122334455667788, 0x99aabbccddeeff00};
constexpr uint64_t kAll = ~uint64_t{0};
// What the 16 shards keep when they are empty.
constexpr size_t kIdleBytes = 16 * 16 * 40;

enum class Kind { kInline, kHeap, kFd, kName };

// Numbers that make a file; equal `n` is the same file.
struct File {
  Kind kind;
  uint32_t n;
  friend auto operator<=>(const File&, const File&) = default;
};

NodeTable::ByHandle HandleOf(const File& file) {
  NodeTable::ByHandle out{};
  out.fs = static_cast<uint16_t>(file.n % 3);
  out.handle.type = 1 + static_cast<int32_t>(file.n % 5);
  // 0 and 20 bytes are inline, 21 and 128 are not.
  bool small = file.kind == Kind::kInline;
  constexpr uint8_t kSmall[] = {20, 8, 12, 5};
  constexpr uint8_t kLarge[] = {21, 32, 128, 24};
  out.handle.size = (small ? kSmall : kLarge)[file.n % 4];
  out.handle.bytes.fill(std::byte{0x77});
  std::memcpy(out.handle.bytes.data(), &file.n, sizeof(file.n));
  // The last byte counts too.
  out.handle.bytes[out.handle.size - 1u] = static_cast<std::byte>(file.n >> 3);
  return out;
}

NodeTable::ByNumbers NumbersOf(const File& file) {
  // A file by descriptor and one by name are never the same numbers here.
  return {.fs = static_cast<uint16_t>(file.n % 3),
          .dev = file.kind == Kind::kFd ? 0x1'00000002u : 0x1'00000003u,
          .ino = 1000 + file.n};
}

bool IsHandle(const File& file) {
  return file.kind == Kind::kInline || file.kind == Kind::kHeap;
}

// A descriptor by which the file can be told again: the position.
class Marked {
 public:
  Marked() : file_(OpenAt(dir_ / "f", O_RDWR | O_CREAT)) {}
  UniqueFd Make(uint32_t mark) {
    UniqueFd fd = OpenAt(dir_ / "f", O_RDONLY);
    lseek(fd.get(), mark, SEEK_SET);
    return fd;
  }
  static uint32_t MarkOf(const UniqueFd& fd) {
    return static_cast<uint32_t>(lseek(fd.get(), 0, SEEK_CUR));
  }

 private:
  TempDir dir_;
  UniqueFd file_;
};

struct Model {
  struct Known {
    NodeId id;
    uint64_t lookups = 0;
    NodeId parent = kNoNode;
    std::string name;
  };
  std::map<File, Known> known;
  std::map<File, NodeId> ever;
  std::map<uint64_t, File> owner;

  std::optional<File> FileOf(NodeId id) const {
    auto it = owner.find(Raw(id));
    if (it == owner.end() || !known.contains(it->second)) return std::nullopt;
    return it->second;
  }
  void Forget(NodeId id, uint64_t n) {
    auto file = FileOf(id);
    if (!file) return;
    Known& entry = known.at(*file);
    if (entry.lookups > n) {
      entry.lookups -= n;
      return;
    }
    NodeId parent = entry.parent;
    known.erase(*file);
    Forget(parent, 1);
  }
  void AddLookup(NodeId id) {
    if (auto file = FileOf(id)) ++known.at(*file).lookups;
  }
  size_t Descriptors() const {
    size_t n = 0;
    for (const auto& [file, entry] : known) n += file.kind == Kind::kFd;
    return n;
  }
};

// One table and its model, with checks after each step.
class Pair {
 public:
  Pair() : table_(std::make_unique<NodeTable>(kKey)) {}

  void Acquire(const File& file, Random& random) {
    NodeId id = kNoNode;
    bool fresh = !model_.known.contains(file);
    NodeId parent = kNoNode;
    std::string name = "name" + std::to_string(random.Below(1000));
    if (IsHandle(file)) {
      id = table_->Acquire(HandleOf(file));
    } else if (file.kind == Kind::kFd) {
      id = table_->Acquire(NumbersOf(file), marked_.Make(file.n));
    } else {
      parent = AnyParent(random);
      id = table_->Acquire(NumbersOf(file), NodeTable::ByName{parent, name, 7});
    }
    REQUIRE(IsTableId(id));
    auto [ever, first] = model_.ever.try_emplace(file, id);
    REQUIRE(ever->second == id);
    auto [owner, first_owner] = model_.owner.try_emplace(Raw(id), file);
    REQUIRE(owner->second == file);
    Model::Known& entry = model_.known[file];
    entry.id = id;
    ++entry.lookups;
    if (file.kind == Kind::kName) {
      // Every lookup tells the name to go by.
      NodeId old = entry.parent;
      entry.parent = parent;
      entry.name = name;
      model_.AddLookup(parent);
      if (!fresh) model_.Forget(old, 1);
    }
  }

  void CheckFile(const File& file) {
    auto it = model_.known.find(file);
    auto found = IsHandle(file) ? table_->Find(HandleOf(file))
                                : table_->Find(NumbersOf(file));
    if (it == model_.known.end()) {
      REQUIRE_FALSE(found);
      if (auto ever = model_.ever.find(file); ever != model_.ever.end()) {
        REQUIRE(ErrorOf(table_->Get(ever->second)) == ESTALE);
      }
      return;
    }
    REQUIRE(found);
    REQUIRE(*found == it->second.id);
    auto got = table_->Get(*found);
    REQUIRE(got.ok());
    REQUIRE(got->handle.has_value() == IsHandle(file));
    REQUIRE(got->name.has_value() == (file.kind == Kind::kName));
    REQUIRE(bool{got->fd} == (file.kind == Kind::kFd));
    if (IsHandle(file)) {
      auto expected = HandleOf(file);
      REQUIRE(got->handle->fs == expected.fs);
      REQUIRE(got->handle->handle == expected.handle);
    } else {
      REQUIRE(got->numbers == NumbersOf(file));
    }
    if (got->fd) REQUIRE(Marked::MarkOf(got->fd) == file.n);
    if (got->name) {
      REQUIRE(got->name->parent == it->second.parent);
      REQUIRE(got->name->name == it->second.name);
      REQUIRE(got->name->birth_ns == 7);
    }
  }

  void Forget(NodeId id, uint64_t n) {
    auto file = model_.FileOf(id);
    bool last = file && model_.known.at(*file).lookups <= n;
    REQUIRE(table_->Forget(id, n) == last);
    model_.Forget(id, n);
  }
  void AddLookup(NodeId id) {
    table_->AddLookup(id);
    model_.AddLookup(id);
  }
  void Move(const File& file, Random& random) {
    auto it = model_.known.find(file);
    if (it == model_.known.end()) return;
    NodeId id = it->second.id;
    NodeId parent = AnyParent(random);
    table_->Moved(id, parent, "moved");
    if (file.kind != Kind::kName) return;
    NodeId old = std::exchange(it->second.parent, parent);
    it->second.name = "moved";
    model_.AddLookup(parent);
    model_.Forget(old, 1);
  }

  void CheckStats() {
    REQUIRE(table_->stats().entries == model_.known.size());
    REQUIRE(table_->stats().descriptors == model_.Descriptors());
    REQUIRE(table_->descriptors() == model_.Descriptors());
  }
  void ForgetAll() {
    while (!model_.known.empty()) Forget(model_.known.begin()->second.id, kAll);
    CheckStats();
    REQUIRE(table_->stats().bytes <= kIdleBytes);
  }
  // As a server that starts again without state.
  void Renew() {
    table_ = std::make_unique<NodeTable>(kKey);
    model_.known.clear();
  }
  Model& model() { return model_; }

 private:
  // A directory, which here is never itself known by name, or the root.
  NodeId AnyParent(Random& random) {
    auto it = model_.known.lower_bound(
        {Kind::kHeap, static_cast<uint32_t>(random.Below(300))});
    if (it == model_.known.end() || it->first.kind == Kind::kName) {
      return kRootNode;
    }
    return it->second.id;
  }
  std::unique_ptr<NodeTable> table_;
  Model model_;
  Marked marked_;
};

File AnyFile(Random& random, uint32_t among) {
  return {static_cast<Kind>(random.Below(4)),
          static_cast<uint32_t>(random.Below(among))};
}

TEST_CASE("NodeTable: random steps against a map", "[table]") {
  size_t fds = CountFds();
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Pair pair;
    for (int step = 0; step < 40000; ++step) {
      File file = AnyFile(random, 300);
      auto ever = pair.model().ever.find(file);
      NodeId id = ever == pair.model().ever.end() ? NodeId{kTableBit | step}
                                                  : ever->second;
      // Phases that fill and phases that empty.
      bool filling = step / 4000 % 2 == 0;
      switch (random.Below(8)) {
        case 0:
        case 1:
          pair.Acquire(file, random);
          break;
        case 2:
          if (filling) pair.Acquire(file, random);
          break;
        case 3:
          pair.Forget(id, random.OneIn(3) ? kAll : 1 + random.Below(4));
          break;
        case 4:
          if (!filling) pair.Forget(id, kAll);
          break;
        case 5:
          pair.AddLookup(random.OneIn(9) ? kRootNode : id);
          break;
        case 6:
          pair.Move(file, random);
          break;
        default:
          pair.Forget(NodeId{random.Next()}, kAll);  // not one of ours
          pair.Forget(kRootNode, 1);
          break;
      }
      pair.CheckFile(file);
      if (step % 64 == 0) pair.CheckStats();
      if (step == 20000) pair.Renew();
      if (step == 30000) pair.ForgetAll();
    }
    pair.ForgetAll();
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("NodeTable: a large table finds all, and gives memory back",
          "[table]") {
  constexpr uint32_t kFiles = 100000;
  NodeTable table(kKey);
  std::vector<NodeId> ids;
  std::set<uint64_t> distinct;
  for (uint32_t n = 0; n < kFiles; ++n) {
    ids.push_back(table.Acquire(HandleOf({Kind::kInline, n})));
    distinct.insert(Raw(ids.back()));
  }
  CHECK(distinct.size() == kFiles);
  CHECK(table.stats().entries == kFiles);
  // 40 bytes an entry, and between a quarter and five eighths free.
  CHECK(table.stats().bytes <= size_t{kFiles} * 40 * 8 / 3);
  size_t lost = 0;
  for (uint32_t n = 0; n < kFiles; ++n) {
    auto found = table.Find(HandleOf({Kind::kInline, n}));
    if (!found || *found != ids[n]) ++lost;
  }
  CHECK(lost == 0);
  // Every other one goes; the rest must stay findable over the gaps.
  for (uint32_t n = 0; n < kFiles; n += 2) {
    if (!table.Forget(ids[n], 1)) ++lost;
  }
  for (uint32_t n = 0; n < kFiles; ++n) {
    if (table.Find(HandleOf({Kind::kInline, n})).has_value() != (n % 2 == 1)) {
      ++lost;
    }
  }
  CHECK(lost == 0);
  for (uint32_t n = 1; n < kFiles; n += 2) table.Forget(ids[n], kAll);
  CHECK(table.stats().entries == 0);
  CHECK(table.stats().bytes <= kIdleBytes);
}

TEST_CASE("NodeTable: an id depends on the key and on every byte", "[table]") {
  NodeTable table(kKey), same(kKey), other({1, 2});
  auto file = HandleOf({Kind::kInline, 4});
  NodeId id = table.Acquire(file);
  CHECK(same.Acquire(file) == id);
  CHECK(other.Acquire(file) != id);
  std::set<uint64_t> ids = {Raw(id)};
  auto add = [&](NodeId more) { CHECK(ids.insert(Raw(more)).second); };
  for (size_t i = 0; i < file.handle.size; ++i) {
    auto changed = file;
    changed.handle.bytes[i] ^= std::byte{1};
    add(table.Acquire(changed));
  }
  auto changed = file;
  ++changed.fs;
  add(table.Acquire(changed));
  changed = file;
  ++changed.handle.type;
  add(table.Acquire(changed));
  changed = file;
  --changed.handle.size;
  add(table.Acquire(changed));
  // What is behind the handle does not count.
  changed = file;
  changed.handle.bytes[file.handle.size] ^= std::byte{1};
  CHECK(table.Acquire(changed) == id);
  NodeTable::ByNumbers numbers{.fs = 0, .dev = 1, .ino = 2};
  auto acquire = [&](NodeTable::ByNumbers n) {
    add(table.Acquire(n, NodeTable::ByName{kRootNode, "n", 0}));
  };
  acquire(numbers);
  acquire({.fs = 1, .dev = 1, .ino = 2});
  acquire({.fs = 0, .dev = 2, .ino = 2});
  acquire({.fs = 0, .dev = 1, .ino = 3});
}

TEST_CASE("NodeTable: many threads", "[table]") {
  size_t fds = CountFds();
  {
    NodeTable table(kKey);
    Marked marked;
    std::atomic<size_t> wrong{0};
    constexpr int kThreads = 8;
    auto work = [&](int thread) {
      Random random(static_cast<uint64_t>(thread) + 100);
      std::vector<std::pair<File, NodeId>> mine;
      for (int step = 0; step < 20000; ++step) {
        // Few files, so that threads meet at them.
        File file = AnyFile(random, 40);
        NodeId id = kNoNode;
        if (mine.size() > 30 || (!mine.empty() && random.OneIn(2))) {
          size_t at = random.Below(mine.size());
          std::tie(file, id) = mine[at];
          // We hold a lookup: it must be there, and be right.
          auto got = table.Get(id);
          if (!got.ok() || got->handle.has_value() != IsHandle(file)) ++wrong;
          if (got.ok() && got->handle &&
              !(got->handle->handle == HandleOf(file).handle)) {
            ++wrong;
          }
          if (got.ok() && got->fd && Marked::MarkOf(got->fd) != file.n) ++wrong;
          table.AddLookup(id);
          if (table.Forget(id, 1)) ++wrong;  // one of ours is left
          table.Forget(id, 1);
          mine.erase(mine.begin() + static_cast<ptrdiff_t>(at));
          continue;
        }
        if (IsHandle(file)) {
          id = table.Acquire(HandleOf(file));
        } else if (file.kind == Kind::kFd) {
          id = table.Acquire(NumbersOf(file), marked.Make(file.n));
        } else {
          id = table.Acquire(NumbersOf(file),
                             NodeTable::ByName{kRootNode, "n", 7});
          table.Moved(id, kRootNode, "m");
        }
        auto found = IsHandle(file) ? table.Find(HandleOf(file))
                                    : table.Find(NumbersOf(file));
        if (found != id) ++wrong;
        mine.emplace_back(file, id);
      }
      for (const auto& [file, id] : mine) table.Forget(id, 1);
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(table.stats().entries == 0);
    CHECK(table.stats().descriptors == 0);
    CHECK(table.stats().bytes <= kIdleBytes);
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("NodeTable: what is known at the end is closed with the table",
          "[table]") {
  size_t fds = CountFds();
  {
    Random random(3);
    Pair pair;
    for (int i = 0; i < 500; ++i) pair.Acquire(AnyFile(random, 200), random);
    CHECK(CountFds() > fds);
  }
  CHECK(CountFds() == fds);
}

}  // namespace
}  // namespace handlefs::test
