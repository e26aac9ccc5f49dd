// What the kernel is told when caches are dropped, with a kernel that has
// epochs, one that has none, and one that refuses.
#include "daemon/control/drop_caches.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "proto/flags.h"
#include "support.h"

namespace handlefs::test {
namespace {

class Kernel final : public io::Connection {
 public:
  Status Notify(const proto::Notification& head, proto::Bytes) override {
    abi::OutHeader header;
    REQUIRE(head.bytes().size() >= sizeof(header));
    std::memcpy(&header, head.bytes().data(), sizeof(header));
    auto code = static_cast<proto::NotifyCode>(header.error);
    if (code == proto::NotifyCode::kIncEpoch && !has_epochs) {
      return Errno(EINVAL);
    }
    if (refusal != 0) return Errno(refusal);
    codes.push_back(code);
    if (code == proto::NotifyCode::kInvalEntry) {
      const char* text =
          reinterpret_cast<const char*>(head.bytes().data()) + 32;
      names.emplace_back(text);
      if (names.back() == "unknown") return Errno(ENOENT);
    }
    return Ok();
  }
  Result<BackingId> OpenBacking(BorrowedFd) override { return Errno(EPERM); }
  Status CloseBacking(BackingId) override { return Ok(); }

  bool has_epochs = true;
  int refusal = 0;
  std::vector<proto::NotifyCode> codes;
  std::vector<std::string> names;
};

struct Tree {
  Tree() {
    for (const char* name : {"a", "b", "unknown"}) {
      REQUIRE(mkdir((temp / name).c_str(), 0755) == 0);
    }
    auto source = OpenSource(temp / "", Submounts::kHide);
    REQUIRE(source.ok());
    auto made = Nodes::Make(*std::move(source), {});
    REQUIRE(made.ok());
    nodes = *std::move(made);
    auto file = std::make_shared<OpenFile>();
    file->node = NodeId{77};
    REQUIRE(files.Insert(file).ok());
  }
  TempDir temp;
  std::unique_ptr<Nodes> nodes;
  OpenFiles files{1};
};

TEST_CASE("drop caches: all names at once", "[control]") {
  Tree tree;
  Kernel kernel;
  auto dropped = DropCaches(*tree.nodes, tree.files, kernel);
  REQUIRE(dropped.ok());
  CHECK(dropped->names == DroppedCaches::Names::kEpoch);
  CHECK(dropped->files == 2);  // and the root
  CHECK(kernel.codes.back() == proto::NotifyCode::kIncEpoch);
  CHECK(kernel.names.empty());
}

TEST_CASE("drop caches: a kernel without epochs", "[control]") {
  Tree tree;
  Kernel kernel;
  kernel.has_epochs = false;
  auto dropped = DropCaches(*tree.nodes, tree.files, kernel);
  REQUIRE(dropped.ok());
  CHECK(dropped->names == DroppedCaches::Names::kNames);
  CHECK(dropped->told == 2);
  std::sort(kernel.names.begin(), kernel.names.end());
  CHECK(kernel.names == std::vector<std::string>{"a", "b", "unknown"});
}

TEST_CASE("drop caches: a kernel that refuses", "[control]") {
  Tree tree;
  Kernel kernel;
  kernel.refusal = EPERM;
  CHECK(DropCaches(*tree.nodes, tree.files, kernel).error() == Errno(EPERM));
  kernel.refusal = ENOENT;  // it knows none of them
  CHECK(DropCaches(*tree.nodes, tree.files, kernel).error() == Errno(ENOENT));
}

}  // namespace
}  // namespace handlefs::test
