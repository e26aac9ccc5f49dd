// Ops about names: right once, and wrong in the ways that matter.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "served.h"

namespace handlefs::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("LOOKUP gives the host's file", "[names]") {
  Served served;
  served.tree.Write("file", "12345");
  fs::create_directory(served.tree.Path("dir"));
  served.tree.Write("dir/inner", "x");
  fs::create_symlink("file", served.tree.Path("link"));
  REQUIRE(mkfifo(served.tree.Path("fifo").c_str(), 0600) == 0);
  uint64_t last = 0;
  for (const char* name : {"file", "dir", "link", "fifo"}) {
    Answer answer = served.kernel.Lookup(kRoot, name);
    INFO(name);
    REQUIRE(answer.ok());
    auto entry = answer.Get<abi::EntryOut>();
    CHECK(entry.nodeid > 1);
    CHECK(entry.nodeid != last);
    last = entry.nodeid;
    CHECK(entry.entry_valid_nsec < 1000000000);
    CHECK(entry.attr_valid_nsec < 1000000000);
    CheckAttr(entry.attr, served.tree.Path(name));
    // The same file is the same node.
    CHECK(served.kernel.Node(kRoot, name) == entry.nodeid);
  }
  uint64_t dir = served.kernel.Node(kRoot, "dir");
  Answer inner = served.kernel.Lookup(dir, "inner");
  REQUIRE(inner.ok());
  CheckAttr(inner.Get<abi::EntryOut>().attr, served.tree.Path("dir/inner"));
}

TEST_CASE("LOOKUP of what is not there", "[names]") {
  Served served;
  served.tree.Write("file", "");
  CHECK(IsNegative(served.kernel.Lookup(kRoot, "missing")));
  uint64_t file = served.kernel.Node(kRoot, "file");
  CHECK(ErrorOf(served.kernel.Lookup(file, "x")) == ENOTDIR);
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(served.kernel.Lookup(node, "file")) == ESTALE);
  }
}

// Ops that make something, by name.
struct Maker {
  const char* what;
  Message (*make)(std::string_view name);
};
const Maker kMakers[] = {
    {"MKDIR",
     [](std::string_view name) {
       return Message(Opcode::kMkdir, kRoot)
           .Put(abi::MkdirIn{.mode = 0755, .umask = 022})
           .Name(name);
     }},
    {"MKNOD",
     [](std::string_view name) {
       return Message(Opcode::kMknod, kRoot)
           .Put(abi::MknodIn{
               .mode = S_IFREG | 0644, .rdev = 0, .umask = 022, .padding = 0})
           .Name(name);
     }},
    {"SYMLINK",
     [](std::string_view name) {
       return Message(Opcode::kSymlink, kRoot).Name(name).Name("../outside");
     }},
    {"CREATE",
     [](std::string_view name) {
       return Message(Opcode::kCreate, kRoot)
           .Put(abi::CreateIn{.flags = O_RDWR | O_CREAT,
                              .mode = S_IFREG | 0644,
                              .umask = 022,
                              .open_flags = 0})
           .Name(name);
     }},
};

TEST_CASE("names that no component may have do nothing", "[names]") {
  Served served;
  served.tree.Write("a", "");
  fs::create_directory(served.tree.Path("d"));
  uint64_t a = served.kernel.Node(kRoot, "a");
  const std::string too_long(256, 'x');
  const std::string_view kBad[] = {"",   "a/b",          "/",
                                   "/a", "../outside/x", "d/../../outside/y"};
  auto check = [&](const Message& message, int error) {
    CHECK(ErrorOf(served.kernel.Call(message)) == error);
  };
  auto all = [&](std::string_view name, int error) {
    CAPTURE(name);
    for (const Maker& maker : kMakers) {
      INFO(maker.what);
      check(maker.make(name), error);
    }
    check(Message(Opcode::kUnlink, kRoot).Name(name), error);
    check(Message(Opcode::kRmdir, kRoot).Name(name), error);
    check(Message(Opcode::kLink, kRoot)
              .Put(abi::LinkIn{.oldnodeid = a})
              .Name(name),
          error);
    abi::RenameIn rename{.newdir = kRoot};
    check(Message(Opcode::kRename, kRoot).Put(rename).Name(name).Name("n"),
          error);
    check(Message(Opcode::kRename, kRoot).Put(rename).Name("a").Name(name),
          error);
    abi::Rename2In rename2{.newdir = kRoot, .flags = 0, .padding = 0};
    check(Message(Opcode::kRename2, kRoot).Put(rename2).Name("a").Name(name),
          error);
  };
  for (std::string_view name : kBad) {
    all(name, EINVAL);
    CAPTURE(name);
    CHECK(ErrorOf(served.kernel.Lookup(kRoot, name)) == EINVAL);
  }
  for (std::string_view name : {".", ".."}) all(name, EINVAL);
  all(too_long, ENAMETOOLONG);
  CHECK(ErrorOf(served.kernel.Lookup(kRoot, too_long)) == ENAMETOOLONG);
  // A NUL inside: more text than the row has.
  using namespace std::literals;
  all("a\0b"sv, EINVAL);
  CHECK(ErrorOf(served.kernel.Lookup(kRoot, "a\0b"sv)) == EINVAL);
  // Nothing came of it.
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(served.tree.source())) {
    names.push_back(entry.path().filename());
  }
  CHECK(names.size() == 2);
  names.clear();
  for (const auto& entry : fs::directory_iterator(served.tree.outside())) {
    names.push_back(entry.path().filename());
  }
  CHECK(names == std::vector<std::string>{"secret"});
}

TEST_CASE("names of 255 bytes, and of any bytes", "[names]") {
  Served served;
  for (const std::string& name :
       {std::string(255, 'x'), std::string("\xff\x01\n\t \"\\*"),
        std::string("..."), std::string("..a")}) {
    Answer made = served.kernel.Mkdir(kRoot, name, 0755);
    REQUIRE(made.ok());
    CHECK(fs::is_directory(served.tree.Path(name)));
    CHECK(served.kernel.Node(kRoot, name) == made.Get<abi::EntryOut>().nodeid);
  }
}

TEST_CASE("making things", "[names]") {
  Served served;
  for (const Maker& maker : kMakers) {
    INFO(maker.what);
    Answer answer = served.kernel.Call(maker.make(maker.what));
    REQUIRE(answer.ok());
    auto entry = answer.Get<abi::EntryOut>();
    CHECK(entry.nodeid > 1);
    CheckAttr(entry.attr, served.tree.Path(maker.what));
    CHECK(served.kernel.Node(kRoot, maker.what) == entry.nodeid);
  }
  CHECK(HostStat(served.tree.Path("MKDIR")).st_mode == (S_IFDIR | 0755));
  CHECK(HostStat(served.tree.Path("MKNOD")).st_mode == (S_IFREG | 0644));
  CHECK(HostStat(served.tree.Path("CREATE")).st_mode == (S_IFREG | 0644));
  CHECK(fs::read_symlink(served.tree.Path("SYMLINK")) == "../outside");
  // Again: they are there. (CREATE has what it finds looked up and opened.)
  for (const Maker& maker : kMakers) {
    INFO(maker.what);
    Answer answer = served.kernel.Call(maker.make(maker.what));
    CHECK(ErrorOf(answer) ==
          (std::string_view(maker.what) == "CREATE" ? ESTALE : EEXIST));
  }
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(served.kernel.Mkdir(node, "x", 0755)) == ESTALE);
    CHECK(ErrorOf(served.kernel.Create(node, "x", O_RDWR, 0644)) == ESTALE);
    CHECK(ErrorOf(served.kernel.Call(
              Message(Opcode::kSymlink, node).Name("x").Name("y"))) == ESTALE);
    CHECK(ErrorOf(served.kernel.Call(
              Message(Opcode::kUnlink, node).Name("x"))) == ESTALE);
    CHECK(ErrorOf(served.kernel.Call(
              Message(Opcode::kRmdir, node).Name("x"))) == ESTALE);
  }
}

TEST_CASE("the umask is the server's to apply, if it said so", "[names]") {
  Served served;
  for (bool granted : {served.kernel.granted().Has(proto::init::kDontMask)}) {
    Answer answer =
        served.kernel.Call(Message(Opcode::kMkdir, kRoot)
                               .Put(abi::MkdirIn{.mode = 0777, .umask = 027})
                               .Name("d"));
    REQUIRE(answer.ok());
    CHECK((HostStat(served.tree.Path("d")).st_mode & 0777) ==
          (granted ? 0750u : 0777u));
  }
}

TEST_CASE("what is made belongs to the caller", "[names]") {
  if (geteuid() != 0) return;  // takes the right to become another user
  Served served;
  fs::permissions(served.tree.source(), fs::perms::all);
  Answer answer =
      served.kernel.Call(Message(Opcode::kMkdir, kRoot)
                             .Put(abi::MkdirIn{.mode = 0755, .umask = 0})
                             .Name("d")
                             .As(12345, 23456, 1));
  REQUIRE(answer.ok());
  struct stat st = HostStat(served.tree.Path("d"));
  CHECK(st.st_uid == 12345);
  CHECK(st.st_gid == 23456);
  // The thread is itself again.
  REQUIRE(served.kernel.Mkdir(kRoot, "e", 0755).ok());
  CHECK(HostStat(served.tree.Path("e")).st_uid == 0);
}

TEST_CASE("special files are made and never opened", "[names]") {
  Served served;
  Answer answer = served.kernel.Call(
      Message(Opcode::kMknod, kRoot)
          .Put(abi::MknodIn{
              .mode = S_IFIFO | 0600, .rdev = 0, .umask = 0, .padding = 0})
          .Name("fifo"));
  REQUIRE(answer.ok());
  uint64_t fifo = answer.Get<abi::EntryOut>().nodeid;
  CHECK(S_ISFIFO(HostStat(served.tree.Path("fifo")).st_mode));
  // Opening it would wait for a writer for ever.
  CHECK_FALSE(served.kernel.Open(fifo, O_RDONLY).ok());
  served.kernel.Barrier();
}

TEST_CASE("READLINK", "[names]") {
  Served served;
  const std::string target(4000, 't');
  fs::create_symlink("../outside/secret", served.tree.Path("link"));
  fs::create_symlink(target, served.tree.Path("far"));
  served.tree.Write("file", "");
  auto readlink = [&](uint64_t node) {
    return served.kernel.Call(Message(Opcode::kReadlink, node));
  };
  CHECK(readlink(served.kernel.Node(kRoot, "link")).payload ==
        "../outside/secret");
  CHECK(readlink(served.kernel.Node(kRoot, "far")).payload == target);
  CHECK(ErrorOf(readlink(served.kernel.Node(kRoot, "file"))) == EINVAL);
  CHECK(ErrorOf(readlink(77)) == ESTALE);
}

TEST_CASE("a symbolic link is never followed", "[names]") {
  Served served;
  fs::create_symlink("../outside", served.tree.Path("up"));
  fs::create_symlink(served.tree.outside() / "secret", served.tree.Path("abs"));
  uint64_t up = served.kernel.Node(kRoot, "up");
  uint64_t abs = served.kernel.Node(kRoot, "abs");
  CHECK(ErrorOf(served.kernel.Lookup(up, "secret")) == ENOTDIR);
  CHECK(ErrorOf(served.kernel.Mkdir(up, "d", 0755)) == ENOTDIR);
  CHECK_FALSE(served.kernel.Opendir(up).ok());
  CHECK_FALSE(served.kernel.Open(abs, O_RDONLY).ok());
  CHECK_FALSE(served.kernel.Open(abs, O_RDWR | O_TRUNC).ok());
  CHECK_FALSE(served.kernel.Create(kRoot, "abs", O_RDWR, 0644).ok());
  CHECK(fs::file_size(served.tree.outside() / "secret") == 6);
  CHECK_FALSE(fs::exists(served.tree.outside() / "d"));
}

TEST_CASE("LINK", "[names]") {
  Served served;
  served.tree.Write("a", "123");
  fs::create_directory(served.tree.Path("d"));
  uint64_t a = served.kernel.Node(kRoot, "a");
  uint64_t d = served.kernel.Node(kRoot, "d");
  auto link = [&](uint64_t old, uint64_t dir, std::string_view name) {
    return served.kernel.Call(Message(Opcode::kLink, dir)
                                  .Put(abi::LinkIn{.oldnodeid = old})
                                  .Name(name));
  };
  Answer answer = link(a, d, "b");
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::EntryOut>().nodeid == a);
  CHECK(answer.Get<abi::EntryOut>().attr.nlink == 2);
  CheckAttr(answer.Get<abi::EntryOut>().attr, served.tree.Path("d/b"));
  CHECK(ErrorOf(link(a, d, "b")) == EEXIST);
  CHECK(ErrorOf(link(d, kRoot, "hard")) == EPERM);
  CHECK(ErrorOf(link(77, d, "c")) == ESTALE);
  CHECK(ErrorOf(link(a, 77, "c")) == ESTALE);
}

TEST_CASE("UNLINK and RMDIR", "[names]") {
  Served served;
  served.tree.Write("a", "");
  fs::create_directories(served.tree.Path("d/e"));
  auto call = [&](Opcode op, std::string_view name) {
    return ErrorOf(served.kernel.Call(Message(op, kRoot).Name(name)));
  };
  CHECK(call(Opcode::kRmdir, "a") == ENOTDIR);
  CHECK(call(Opcode::kUnlink, "d") == EISDIR);
  CHECK(call(Opcode::kRmdir, "d") == ENOTEMPTY);
  CHECK(call(Opcode::kUnlink, "x") == ENOENT);
  CHECK(call(Opcode::kRmdir, "x") == ENOENT);
  CHECK(call(Opcode::kUnlink, "a") == 0);
  CHECK_FALSE(fs::exists(served.tree.Path("a")));
  fs::remove(served.tree.Path("d/e"));
  CHECK(call(Opcode::kRmdir, "d") == 0);
  CHECK_FALSE(fs::exists(served.tree.Path("d")));
}

TEST_CASE("an unlinked file lives while the kernel knows it", "[names]") {
  Served served;
  served.tree.Write("a", "12345");
  uint64_t a = served.kernel.Node(kRoot, "a");
  uint64_t fh = served.kernel.OpenFh(a, O_RDWR);
  REQUIRE(served.kernel.Call(Message(Opcode::kUnlink, kRoot).Name("a")).ok());
  Answer answer = served.kernel.Getattr(a);
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::AttrOut>().attr.nlink == 0);
  CHECK(served.kernel.Read(a, fh, 0, 100).payload == "12345");
  CHECK(served.kernel.Release(Opcode::kRelease, a, fh, 0).ok());
  CHECK(served.kernel.Getattr(a).ok());
  served.kernel.Forget(a, 1);
  CHECK(ErrorOf(served.kernel.Getattr(a)) == ESTALE);
}

TEST_CASE("RENAME and RENAME2", "[names]") {
  Served served;
  served.tree.Write("a", "A");
  served.tree.Write("b", "B");
  fs::create_directory(served.tree.Path("d"));
  uint64_t d = served.kernel.Node(kRoot, "d");
  uint64_t a = served.kernel.Node(kRoot, "a");
  auto rename = [&](std::string_view from, uint64_t dir, std::string_view to) {
    return ErrorOf(served.kernel.Call(Message(Opcode::kRename, kRoot)
                                          .Put(abi::RenameIn{.newdir = dir})
                                          .Name(from)
                                          .Name(to)));
  };
  auto rename2 = [&](std::string_view from, std::string_view to,
                     uint32_t flags) {
    return ErrorOf(served.kernel.Call(
        Message(Opcode::kRename2, kRoot)
            .Put(abi::Rename2In{.newdir = kRoot, .flags = flags, .padding = 0})
            .Name(from)
            .Name(to)));
  };
  CHECK(rename2("a", "b", RENAME_NOREPLACE) == EEXIST);
  CHECK(rename2("a", "b", RENAME_EXCHANGE) == 0);
  CHECK(served.tree.Read("b") == "A");
  CHECK(served.kernel.Node(kRoot, "b") == a);
  CHECK(rename2("a", "b", 0xffff0000) == EINVAL);
  CHECK(rename("b", d, "c") == 0);
  CHECK(served.tree.Read("d/c") == "A");
  CHECK(served.kernel.Node(d, "c") == a);
  CHECK(rename("missing", d, "c") == ENOENT);
  CHECK(rename("d", d, "inside") == EINVAL);
  CHECK(rename("a", 77, "c") == ESTALE);
  // Over another file, which then is gone.
  CHECK(rename("a", d, "c") == 0);
  CHECK(served.tree.Read("d/c") == "B");
}

TEST_CASE("TMPFILE", "[names]") {
  Served served;
  Answer answer =
      served.kernel.Call(Message(Opcode::kTmpfile, kRoot)
                             .Put(abi::CreateIn{.flags = O_RDWR | O_TMPFILE,
                                                .mode = S_IFREG | 0600,
                                                .umask = 0,
                                                .open_flags = 0})
                             .Name("/"));
  if (ErrorOf(answer) == EOPNOTSUPP) return;  // the host file system's answer
  REQUIRE(answer.ok());
  auto made = answer.Get<abi::CreateOut>();
  CHECK(made.entry.attr.nlink == 0);
  CHECK(made.entry.attr.mode == (S_IFREG | 0600));
  uint64_t node = made.entry.nodeid;
  CHECK(served.kernel.Write(node, made.open.fh, 0, "tmp").ok());
  answer = served.kernel.Call(Message(Opcode::kLink, kRoot)
                                  .Put(abi::LinkIn{.oldnodeid = node})
                                  .Name("named"));
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::EntryOut>().nodeid == node);
  CHECK(served.tree.Read("named") == "tmp");
}

TEST_CASE("the kernel's parent lookups stay inside", "[names]") {
  Served served(std::vector<std::string>{"-o", "export=on"});
  if (!served.kernel.granted().Has(proto::init::kExportSupport)) return;
  fs::create_directories(served.tree.Path("d/e"));
  uint64_t d = served.kernel.Node(kRoot, "d");
  uint64_t e = served.kernel.Node(d, "e");
  CHECK(served.kernel.Node(e, "..") == d);
  CHECK(served.kernel.Node(d, "..") == kRoot);
  CHECK(served.kernel.Node(kRoot, "..") == kRoot);
  CHECK(served.kernel.Node(kRoot, ".") == kRoot);
  CHECK(served.kernel.Node(e, ".") == e);
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(served.kernel.Lookup(node, ".")) == ESTALE);
    CHECK(ErrorOf(served.kernel.Lookup(node, "..")) == ESTALE);
  }
}

// The nodeid that a file would have, if it were served: inode and generation
// from its host handle (ext4: ino32, gen32; tmpfs: gen32, ino64).
uint64_t ForgedNode(const fs::path& path) {
  struct {
    file_handle head;
    unsigned char bytes[128];
  } handle{};
  handle.head.handle_bytes = sizeof(handle.bytes);
  int mount_id = 0;
  REQUIRE(name_to_handle_at(AT_FDCWD, path.c_str(), &handle.head, &mount_id,
                            0) == 0);
  uint32_t words[3] = {};
  std::memcpy(words, handle.head.f_handle,
              std::min<size_t>(handle.head.handle_bytes, sizeof(words)));
  auto ino = static_cast<uint32_t>(HostStat(path).st_ino);
  uint32_t generation = words[0] == ino ? words[1] : words[0];
  return uint64_t{ino} << 32 | (generation ^ ino);
}

TEST_CASE("a forged nodeid of a directory outside leads nowhere", "[names]") {
  Served served(std::vector<std::string>{"-o", "export=on"});
  if (!served.kernel.granted().Has(proto::init::kExportSupport)) return;
  fs::create_directory(served.tree.Path("inside"));
  uint64_t inside = ForgedNode(served.tree.Path("inside"));
  if (served.kernel.Node(kRoot, "inside") != inside) {
    WARN("nodeids are not packed on this file system");
    return;
  }
  CHECK(served.kernel.Lookup(inside, ".").ok());
  uint64_t outside = ForgedNode(served.tree.outside());
  CHECK(ErrorOf(served.kernel.Lookup(outside, ".")) == ESTALE);
  CHECK(ErrorOf(served.kernel.Lookup(outside, "..")) == ESTALE);
}

}  // namespace
}  // namespace handlefs::test
