// LOOKUP_HANDLE and MKOBJ_HANDLE as the RFC's kernel sends them, and what trips
// that kernel: its code copies fixed sizes, gives nothing back, and has BUG()
// behind a node 0 or a mode without type.
#include <fcntl.h>

#include <set>

#include "chain.h"

namespace handlefs::test {
namespace {

proto::InitFlags RfcFlags() {
  proto::InitFlags flags = OfferedFlags();
  return flags.Add(proto::init::kFileOps).Remove(proto::init::kOverIoUring);
}

struct Rfc {
  TempTree tree;
  std::unique_ptr<FakeKernel> kernel;

  explicit Rfc(std::vector<std::string> options = {
                   "--dialect=lookup-handle-v3"}) {
    Start(std::move(options));
  }
  void Start(std::vector<std::string> options) {
    options.push_back("--key_file=" +
                      (tree.source().parent_path() / "key").string());
    kernel = std::make_unique<FakeKernel>(
        tree.source(),
        FakeKernel::Setup{
            .options = std::move(options), .minor = 46, .offered = RfcFlags()});
  }
  std::vector<Answer> Run(const Chain& chain) {
    return Subs(kernel->Call(chain.Encode()), Framing::kV5, chain.count());
  }
  // As the kernel looks a name up.
  std::vector<Answer> Lookup(uint64_t dir, std::string_view name,
                             std::string_view handle = {}) {
    return Run(Chain(Framing::kV5).LookupHandle(dir, name, handle).Statx(1));
  }
  size_t Descriptors() {
    namespace fs = std::filesystem;
    fs::path fds = "/proc/" + std::to_string(kernel->process().pid()) + "/fd";
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(fds), fs::directory_iterator()));
  }
};

// Too short for its op: EINVAL for it alone.
Message Broken(Opcode op, uint64_t node) {
  return Message(op, node).Data("....");
}

TEST_CASE("INIT under the RFC's dialect", "[handles]") {
  Rfc f;
  CHECK(f.kernel->granted().Has(proto::init::kBit43));
  CHECK(f.kernel->granted().Has(proto::init::kInitExt));
  // Its entries have no handle: the kernel would warn and spoil inodes.
  CHECK_FALSE(f.kernel->granted().Has(proto::init::kDoReaddirplus));
  CHECK_FALSE(f.kernel->granted().Has(proto::init::kReaddirplusAuto));
}

TEST_CASE("the kernel's INIT tells the dialect", "[handles]") {
  Rfc rfc({"--dialect=auto"});
  CHECK(rfc.kernel->granted().Has(proto::init::kBit43));
  Rfc mainline({"--dialect=mainline"});
  CHECK_FALSE(mainline.kernel->granted().Has(proto::init::kBit43));
  CHECK(mainline.kernel->granted().Has(proto::init::kDoReaddirplus));
  for (Opcode op : {Opcode::kLookupHandle, Opcode::kCompound}) {
    Message message(op, 1);
    CHECK(mainline.kernel->Call(message.Name("a")).error == ENOSYS);
  }
}

TEST_CASE("bit 43 of 7.46 is something else", "[handles]") {
  TempTree tree;
  FakeKernel::Setup setup{
      .options = {"--dialect=lookup-handle-v3",
                  "--key_file=" + tree.Path("../key").string()},
      .handshake = FakeKernel::Handshake::kLeftToTest};
  FakeKernel kernel(tree.source(), setup);
  auto offered = OfferedFlags();
  offered.Add(proto::init::kOverIoUring).Add(proto::init::kBit43);
  CHECK(kernel.Call(FakeKernel::InitMessage(7, 46, offered)).error == EPROTO);
  kernel.Stop(6);
}

TEST_CASE("a lookup has node, handle and attributes", "[handles]") {
  Rfc f;
  f.tree.Write("a", "0123456789");
  Chain chain(Framing::kV5);
  chain.LookupHandle(kRoot, "a").Statx(1);
  Answer reply = f.kernel->Call(chain.Encode());
  // What the kernel has room for, to the byte.
  CHECK(reply.payload.size() == 522 - sizeof(abi::OutHeader));
  auto subs = Subs(reply, Framing::kV5, 2);
  REQUIRE(subs[0].ok());
  REQUIRE(subs[0].payload.size() == 170);
  auto entry = subs[0].Get<abi::Entry2Out>();
  CHECK(entry.nodeid > 1);
  CHECK(entry.flags == 0);
  CHECK(entry.spare == 0);
  CHECK(HandleIn(subs[0]).size() >= 8);
  CHECK(HandleIn(subs[0]).size() <= 128);
  REQUIRE(subs[1].ok());
  auto statx = subs[1].Get<abi::StatxOut>();
  struct stat st = HostStat(f.tree.Path("a"));
  CHECK(statx.stat.ino == st.st_ino);
  CHECK(statx.stat.mode == st.st_mode);
  CHECK(statx.stat.size == 10);
  CHECK((statx.stat.mask & 0x7ff) == 0x7ff);
  // A revalidation takes the name's lifetime for both.
  CHECK(entry.entry_valid == statx.attr_valid);
  CHECK(entry.entry_valid_nsec == statx.attr_valid_nsec);
}

TEST_CASE("the handle of a node never changes", "[handles]") {
  Rfc f;
  std::filesystem::create_directory(f.tree.Path("d"));
  f.tree.Write("d/a", "1");
  auto dir = f.Lookup(kRoot, "d");
  uint64_t node = dir[0].Get<abi::Entry2Out>().nodeid;
  std::string handle = HandleIn(dir[0]);
  std::set<std::string> seen;
  for (std::string with : {handle, std::string()}) {
    auto file = f.Lookup(node, "a", with);
    REQUIRE(file[0].ok());
    REQUIRE(file[1].ok());
    seen.insert(file[0].payload);
    f.tree.Write("d/a", "12");
  }
  std::filesystem::rename(f.tree.Path("d/a"), f.tree.Path("b"));
  seen.insert(f.Lookup(kRoot, "b")[0].payload);
  CHECK(seen.size() == 1);
}

TEST_CASE("what is not there is ENOENT in every part", "[handles]") {
  Rfc f;
  for (const Answer& sub : f.Lookup(kRoot, "none")) {
    CHECK(sub.error == ENOENT);
    CHECK(sub.payload.empty());
  }
  f.tree.Write("file", "");
  uint64_t file = f.Lookup(kRoot, "file")[0].Get<abi::Entry2Out>().nodeid;
  CHECK(f.Lookup(file, "x")[0].error == ENOTDIR);
}

TEST_CASE("a lookup whose attributes fail is taken back", "[handles]") {
  // Known by descriptor, nodes have counts that can be seen.
  Rfc f({"--dialect=lookup-handle-v3", "--identity=fd"});
  f.tree.Write("a", "");
  uint64_t node = f.Lookup(kRoot, "a")[0].Get<abi::Entry2Out>().nodeid;
  for (int i = 0; i < 3; ++i) {
    Chain chain(Framing::kV5);
    chain.LookupHandle(kRoot, "a").Add(Broken(Opcode::kStatx, 1), 288);
    auto subs = f.Run(chain);
    CHECK(subs[0].error == EINVAL);
    CHECK(subs[1].error == EINVAL);
  }
  CHECK(f.kernel->Getattr(node).ok());
  f.kernel->Forget(node, 1);
  CHECK(f.kernel->Getattr(node).error == ESTALE);
}

TEST_CASE("an open whose attributes fail is closed again", "[handles]") {
  Rfc f;
  f.tree.Write("a", "");
  std::filesystem::create_directory(f.tree.Path("d"));
  uint64_t node = f.Lookup(kRoot, "a")[0].Get<abi::Entry2Out>().nodeid;
  auto subs = f.Run(
      Chain(Framing::kV5, Chain::kSeparable).Open(node, O_RDWR).Getattr(node));
  REQUIRE(subs[0].ok());
  REQUIRE(subs[1].ok());
  CHECK(subs[0].payload.size() == 16);
  CHECK(subs[1].payload.size() == 104);
  f.kernel->Release(Opcode::kRelease, node, subs[0].Get<abi::OpenOut>().fh, 0);
  size_t before = f.Descriptors();
  for (Opcode op : {Opcode::kOpen, Opcode::kOpendir}) {
    Chain chain(Framing::kV5, Chain::kSeparable);
    uint64_t target = op == Opcode::kOpen ? node : kRoot;
    chain.Add(Message(op, target).Put(abi::OpenIn{}), 16)
        .Add(Broken(Opcode::kGetattr, target), 104);
    subs = f.Run(chain);
    CHECK(subs[0].error == EINVAL);
    CHECK(subs[1].error == EINVAL);
  }
  CHECK(f.Descriptors() == before);
}

TEST_CASE("a file is made and opened in one", "[handles]") {
  Rfc f;
  Chain chain(Framing::kV5, Chain::kAtomicV5);
  // The kernel's OPEN says O_RDWR whatever the caller said.
  chain.Mkobj(kRoot, "new", O_WRONLY | O_CREAT | O_EXCL, 0400)
      .Statx(1)
      .Open(1, O_RDWR);
  Answer reply = f.kernel->Call(chain.Encode());
  CHECK(reply.payload.size() == 554 - sizeof(abi::OutHeader));
  auto subs = Subs(reply, Framing::kV5, 3);
  for (const Answer& sub : subs) REQUIRE(sub.ok());
  CHECK(subs[1].Get<abi::StatxOut>().stat.mode == (S_IFREG | 0400));
  uint64_t node = subs[0].Get<abi::Entry2Out>().nodeid;
  uint64_t fh = subs[2].Get<abi::OpenOut>().fh;
  CHECK(f.kernel->Write(node, fh, 0, "hello").ok());
  CHECK(f.kernel->Read(node, fh, 0, 10).error == EBADF);
  CHECK(f.tree.Read("new") == "hello");
  // There now: the kernel, or the caller, has to say what that means.
  CHECK(f.Run(chain)[0].error == EEXIST);
  Chain again(Framing::kV5, Chain::kAtomicV5);
  again.Mkobj(kRoot, "new", O_WRONLY | O_CREAT, 0400).Statx(1).Open(1, O_RDWR);
  for (const Answer& sub : f.Run(again)) CHECK(sub.error == ESTALE);
}

TEST_CASE("a file that could not be opened is gone again", "[handles]") {
  Rfc f;
  size_t before = f.Descriptors();
  Chain open(Framing::kV5, Chain::kAtomicV5);
  open.Mkobj(kRoot, "new", O_RDWR | O_CREAT, 0600)
      .Statx(1)
      .Add(Broken(Opcode::kOpen, 1), 16);
  for (const Answer& sub : f.Run(open)) CHECK(sub.error == EINVAL);
  CHECK_FALSE(std::filesystem::exists(f.tree.Path("new")));
  Chain statx(Framing::kV5, Chain::kAtomicV5);
  statx.Mkobj(kRoot, "new", O_RDWR | O_CREAT, 0600)
      .Add(Broken(Opcode::kStatx, 1), 288)
      .Open(1, O_RDWR);
  for (const Answer& sub : f.Run(statx)) CHECK(sub.error == EINVAL);
  CHECK_FALSE(std::filesystem::exists(f.tree.Path("new")));
  CHECK(f.Descriptors() == before);
}

TEST_CASE("a file whose node cannot be given is not made", "[handles]") {
  using Few = DaemonProcess::FewDescriptors;
  Rfc f({"--dialect=lookup-handle-v3", "--identity=fd"});
  auto entries = [&] {
    return std::distance(std::filesystem::directory_iterator(f.tree.source()),
                         std::filesystem::directory_iterator());
  };
  Chain chain(Framing::kV5, Chain::kAtomicV5);
  chain.Mkobj(kRoot, "new", O_RDWR | O_CREAT, 0600).Statx(1).Open(1, O_RDWR);
  // Once with all that it needs. UBSan opens a pipe to look at an object of a
  // type that it has not met, and calls the object bad if there is no pipe.
  for (const Answer& sub : f.Run(chain)) CHECK(sub.ok());
  CHECK(f.kernel->Create(kRoot, "other", O_RDWR, 0600).ok());
  for (const char* name : {"new", "other"}) {
    CHECK(f.kernel->Call(Message(Opcode::kUnlink, kRoot).Name(name)).ok());
  }
  {
    // Enough to make it, and none to look at it.
    Few few(f.kernel->process(), 1);
    for (const Answer& sub : f.Run(chain)) CHECK(sub.error == EMFILE);
    CHECK(ErrorOf(f.kernel->Create(kRoot, "new", O_RDWR, 0600)) == EMFILE);
    CHECK(entries() == 0);
  }
  for (const Answer& sub : f.Run(chain)) CHECK(sub.ok());
  CHECK(entries() == 1);
}

TEST_CASE("extensions of a sub, in any order, told or not", "[handles]") {
  Rfc f;
  std::filesystem::create_directory(f.tree.Path("d"));
  auto dir = f.Lookup(kRoot, "d");
  uint64_t node = dir[0].Get<abi::Entry2Out>().nodeid;
  std::string handle = HandleBody(HandleIn(dir[0]));
  std::string groups("\1\0\0\0\0\0\0\0", 8);
  int serial = 0;
  for (bool first : {true, false}) {
    // An odd length: everything behind it is unaligned.
    std::string name = "odd" + std::to_string(serial++) + "x";
    Message make(Opcode::kMkobjHandle, node);
    make.Put(abi::CreateIn{.flags = O_RDWR | O_CREAT,
                           .mode = S_IFREG | 0600,
                           .umask = 0,
                           .open_flags = 0})
        .Name(name);
    if (first) make.Extension(33, handle);
    make.Extension(32, groups);
    if (!first) make.Extension(33, handle);
    Chain chain(Framing::kV5, Chain::kAtomicV5);
    chain.Add(make, 170).Statx(1).Open(1, O_RDWR);
    for (const Answer& sub : f.Run(chain)) CHECK(sub.ok());
    CHECK(std::filesystem::exists(f.tree.Path("d/" + name)));
  }
}

TEST_CASE("a handle that is not ours, or not of the node", "[handles]") {
  Rfc f;
  std::filesystem::create_directory(f.tree.Path("d"));
  std::filesystem::create_directory(f.tree.Path("e"));
  f.tree.Write("d/a", "");
  auto d = f.Lookup(kRoot, "d");
  auto e = f.Lookup(kRoot, "e");
  uint64_t node = d[0].Get<abi::Entry2Out>().nodeid;
  std::string handle = HandleIn(d[0]);
  CHECK(f.Lookup(node, "a", handle)[0].ok());
  CHECK(f.Lookup(node, "a", HandleIn(e[0]))[0].error == ESTALE);
  CHECK(f.Lookup(kRoot, "d", handle)[0].error == ESTALE);
  for (size_t bit = 0; bit < handle.size() * 8; ++bit) {
    std::string flipped = handle;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    for (const Answer& sub : f.Lookup(node, "a", flipped)) {
      CHECK(sub.error == ESTALE);
    }
  }
  CHECK(f.Lookup(node, "a", handle.substr(0, 7))[0].error == ESTALE);
  // At most 128 bytes, and as many as it says.
  CHECK(f.Lookup(node, "a", std::string(129, 'x'))[0].error == EINVAL);
  Message lookup(Opcode::kLookupHandle, node);
  lookup.Name("a").Extension(33, std::string("\xff\0short", 7));
  Chain chain(Framing::kV5);
  chain.Add(lookup, 170).Statx(1);
  CHECK(f.Run(chain)[0].error == EINVAL);
  // An empty one is none.
  Message empty(Opcode::kLookupHandle, node);
  empty.Name("a").Extension(33, HandleBody(""));
  Chain none(Framing::kV5);
  none.Add(empty, 170).Statx(1);
  CHECK(f.Run(none)[0].ok());
}

TEST_CASE("a server that starts again knows its handles", "[handles]") {
  for (std::string identity : {"--identity=auto", "--identity=handle"}) {
    Rfc f({"--dialect=lookup-handle-v3", identity});
    std::filesystem::create_directories(f.tree.Path("d/e"));
    f.tree.Write("d/e/a", "content");
    auto d = f.Lookup(kRoot, "d");
    auto e = f.Lookup(d[0].Get<abi::Entry2Out>().nodeid, "e", HandleIn(d[0]));
    uint64_t node = e[0].Get<abi::Entry2Out>().nodeid;
    auto before = f.Lookup(node, "a", HandleIn(e[0]));
    f.kernel->Stop();
    f.Start({"--dialect=lookup-handle-v3", identity});
    auto after = f.Lookup(node, "a", HandleIn(e[0]));
    REQUIRE(after[0].ok());
    CHECK(after[0].payload == before[0].payload);
    CHECK(after[1].Get<abi::StatxOut>().stat.size == 7);
    // Another key: nothing of it is believed.
    f.kernel->Stop();
    std::filesystem::remove(f.tree.source().parent_path() / "key");
    f.Start({"--dialect=lookup-handle-v3", identity});
    CHECK(f.Lookup(node, "a", HandleIn(e[0]))[0].error == ESTALE);
  }
}

TEST_CASE("LOOKUP_HANDLE as a request of its own", "[handles]") {
  Rfc f;
  std::filesystem::create_directory(f.tree.Path("d"));
  f.tree.Write("d/a", "");
  auto d = f.Lookup(kRoot, "d");
  uint64_t node = d[0].Get<abi::Entry2Out>().nodeid;
  Message lookup(Opcode::kLookupHandle, node);
  lookup.Name("a").Extension(33, HandleBody(HandleIn(d[0])));
  Answer answer = f.kernel->Call(lookup);
  REQUIRE(answer.ok());
  CHECK(answer.payload.size() ==
        sizeof(abi::Entry2Out) + 2 + HandleIn(answer).size());
  // Told wrongly.
  lookup.SayExtensions(1);
  CHECK(f.kernel->Call(lookup).error == EINVAL);
}

TEST_CASE("the proposal with attributes inside", "[handles]") {
  Rfc f({"--dialect=lookup-handle-inline"});
  f.tree.Write("a", "12345");
  Answer answer =
      f.kernel->Call(Message(Opcode::kLookupHandle, kRoot).Name("a"));
  REQUIRE(answer.ok());
  auto entry = answer.Get<abi::EntryHandleOut>();
  struct stat st = HostStat(f.tree.Path("a"));
  CHECK(entry.nodeid > 1);
  CHECK(entry.stat.ino == st.st_ino);
  CHECK(entry.stat.size == 5);
  CHECK(entry.stat.mode == st.st_mode);
  CHECK(answer.payload.size() ==
        sizeof(entry) + 2 + HandleIn(answer, sizeof(entry)).size());
}

}  // namespace
}  // namespace handlefs::test
