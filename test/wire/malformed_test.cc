// Every row of the opcode table, spoiled in every way that its shape allows.
// Each must be answered EINVAL, once, and change nothing; rows that the server
// leaves out may be answered ENOSYS before anybody looks at them.
#include "script.h"
#include "served.h"

namespace handlefs::test {
namespace {

struct Staged : Served {
  Scene scene = MakeScene(tree, kernel);

  void CheckSpoiled(const proto::OpRow& row, const Message& message,
                    const char* how) {
    INFO(row.name << ": " << how);
    if (row.reply == proto::ReplyKind::kNever) {
      kernel.Send(message);
      kernel.Barrier();
      return;
    }
    int error = ErrorOf(kernel.Call(message));
    if (IsLeftOut(row.op)) {
      CHECK((error == ENOSYS || error == EINVAL));
    } else if (row.op == Opcode::kInit) {
      CHECK((error == EIO || error == EINVAL));
    } else if (row.op == Opcode::kDestroy) {
      // Nobody reads it: there is nothing in it.
      CHECK((error == 0 || error == EINVAL));
    } else {
      CHECK(error == EINVAL);
    }
  }
};

TEST_CASE("good requests of every row are answered as they should be",
          "[malformed]") {
  for (const proto::OpRow& row : proto::kOpTable) {
    if (row.op == Opcode::kInit) continue;
    // Each by itself: some of them take away what others need.
    Staged s;
    INFO(row.name);
    // What a good REMOVEXATTR or GETXATTR needs.
    Answer prepared =
        s.kernel.Call(GoodMessage(proto::RowOf(Opcode::kSetxattr), s.scene, 0));
    Message message = GoodMessage(row, s.scene, 1);
    if (row.reply == proto::ReplyKind::kNever) {
      s.kernel.Send(message);
      s.kernel.Barrier();
      continue;
    }
    Answer answer = s.kernel.Call(message);
    if (IsLeftOut(row.op)) {
      CHECK(ErrorOf(answer) == ENOSYS);
    } else if (!prepared.ok() && ErrorOf(answer) == prepared.error) {
      WARN("no extended attributes here");
    } else if (row.op == Opcode::kIoctl || row.op == Opcode::kTmpfile) {
      CHECK((answer.ok() || answer.error == ENOTTY ||
             answer.error == EOPNOTSUPP));
    } else {
      CHECK(ErrorOf(answer) == 0);
    }
  }
}

TEST_CASE("requests that end too early", "[malformed]") {
  Staged s;
  int serial = 0;
  for (const proto::OpRow& row : proto::kOpTable) {
    Message good = GoodMessage(row, s.scene, ++serial);
    size_t least = row.fixed_in;
    if ((row.flags & proto::kShortFixed) != 0) least = 8;
    if (row.text != proto::Text::kNone) ++least;
    for (size_t size : {size_t{0}, size_t{1}, least / 2, least - 1}) {
      if (least == 0 || size >= least) continue;
      Message cut = good;
      s.CheckSpoiled(row, cut.Cut(size), "short");
    }
    // Up to the last NUL.
    if (row.text != proto::Text::kNone && row.tail == proto::Tail::kNone) {
      Message cut = good;
      s.CheckSpoiled(row, cut.Cut(good.body_size() - 1), "no NUL");
    }
  }
}

TEST_CASE("requests that go on too long", "[malformed]") {
  Staged s;
  int serial = 0;
  for (const proto::OpRow& row : proto::kOpTable) {
    if (row.tail == proto::Tail::kData) continue;
    Message good = GoodMessage(row, s.scene, ++serial);
    for (size_t more : {1, 8, 4096}) {
      Message longer = good;
      s.CheckSpoiled(row, longer.Data(std::string(more, 'x')), "long");
    }
  }
  // None of them did anything.
  CHECK(std::filesystem::is_empty(s.tree.Path("dir/empty")));
  CHECK(std::filesystem::exists(s.tree.Path("dir/inner")));
  CHECK(std::distance(std::filesystem::directory_iterator(s.tree.Path("dir")),
                      {}) == 2);
}

TEST_CASE("lengths that lie", "[malformed]") {
  Staged s;
  int serial = 0;
  for (const proto::OpRow& row : proto::kOpTable) {
    Message good = GoodMessage(row, s.scene, ++serial);
    auto size = static_cast<uint32_t>(40 + good.body_size());
    for (uint32_t said : {0u, 1u, 39u, size - 1, size + 1, 0xffffffffu}) {
      Message lying = good;
      s.CheckSpoiled(row, lying.SayLength(said), "length");
    }
  }
}

TEST_CASE("extensions that lie", "[malformed]") {
  Staged s;
  int serial = 0;
  for (const proto::OpRow& row : proto::kOpTable) {
    Message good = GoodMessage(row, s.scene, ++serial);
    for (uint16_t units : {1000, 65535}) {
      Message lying = good;
      s.CheckSpoiled(row, lying.SayExtensions(units), "extension area");
    }
    using namespace std::literals;
    Message bad = good;
    s.CheckSpoiled(row, bad.Extension(32, "\xff\xff\xff\xff"sv), "groups");
    bad = good;
    s.CheckSpoiled(row, bad.Extension(33, "\xff\xff"sv), "handle");
    bad = good;
    s.CheckSpoiled(row, bad.Extension(2, "\x08\0\0\0\0\0\0\0a\0"sv),
                   "security context");
    bad = good;
    s.CheckSpoiled(row, bad.Extension(99, "1234").SayExtensions(1),
                   "half an area");
  }
}

TEST_CASE("extensions that nobody knows are no harm", "[malformed]") {
  Staged s;
  using namespace std::literals;
  Answer answer =
      s.kernel.Call(GoodMessage(proto::RowOf(Opcode::kMkdir), s.scene, 1)
                        .Extension(99, "whatever")
                        .Extension(32, "\x01\0\0\0\x07\0\0\0"sv)
                        .Extension(33, "\x03\0abc"sv)
                        .Extension(1000000, ""));
  CHECK(answer.ok());
  CHECK(std::filesystem::is_directory(s.tree.Path("dir/new1")));
}

TEST_CASE("the group of a request is the group of what it makes",
          "[malformed]") {
  if (geteuid() != 0) return;
  Staged s;
  namespace fs = std::filesystem;
  fs::permissions(s.tree.Path("dir"), fs::perms(02777));
  REQUIRE(chown(s.tree.Path("dir").c_str(), 0, 34567) == 0);
  fs::permissions(s.tree.Path("dir"), fs::perms(02777));
  std::string groups("\x01\0\0\0", 4);
  uint32_t group = 34567;
  groups.append(reinterpret_cast<const char*>(&group), sizeof(group));
  Answer answer =
      s.kernel.Call(GoodMessage(proto::RowOf(Opcode::kMkdir), s.scene, 1)
                        .As(12345, 23456, 1)
                        .Extension(32, groups));
  REQUIRE(answer.ok());
  CHECK(HostStat(s.tree.Path("dir/new1")).st_gid == 34567);
}

TEST_CASE("nodes that nobody knows are stale in every row", "[malformed]") {
  Staged s;
  int serial = 0;
  for (const proto::OpRow& row : proto::kOpTable) {
    if (row.reply == proto::ReplyKind::kNever || IsLeftOut(row.op) ||
        IsOfSession(row.op)) {
      continue;
    }
    Message good = GoodMessage(row, s.scene, ++serial);
    std::string bytes = good.Encode();
    for (uint64_t node : kForeignNodes) {
      Message stray(row.op, node);
      stray.Data(std::string_view(bytes).substr(40));
      Answer answer = s.kernel.Call(stray);
      INFO(row.name << " of " << node);
      // Ops with an open file may not need to know its node.
      bool by_fh = row.fixed_in >= 16 && row.text == proto::Text::kNone;
      CHECK((ErrorOf(answer) == ESTALE || by_fh || row.op == Opcode::kSyncfs ||
             row.op == Opcode::kAccess));
    }
    // The good ones change the scene; this begins it anew.
    s.scene.fh = s.kernel.OpenFh(s.scene.file, 2);
  }
}

TEST_CASE("messages without a header are not answered", "[malformed]") {
  Staged s;
  for (size_t size : {1, 8, 16, 39}) {
    s.kernel.SendRaw(std::string(size, '\x01'));
  }
  s.kernel.Barrier();
}

}  // namespace
}  // namespace handlefs::test
