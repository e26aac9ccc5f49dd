// Compounds of ordinary ops, in every framing: each sub is answered as if it
// had come alone.
#include <fcntl.h>
#include <sys/xattr.h>

#include <random>

#include "chain.h"

namespace handlefs::test {
namespace {

struct Kind {
  Framing framing;
  const char* option;
  uint32_t go_on;  // the flag that lets the rest run after a failure
};
constexpr Kind kKinds[] = {
    {Framing::kV5, "--dialect=lookup-handle-v3", Chain::kSeparable},
    {Framing::kV6, "--dialect=compound-v6", Chain::kContinueV6},
    {Framing::kDev, "--dialect=compound-dev", 0},
    {Framing::kV7, "--dialect=compound-v7", 0},
};

struct Compounds : Served {
  explicit Compounds(const char* option)
      : Served(std::vector<std::string>{option,
                                        "--key_file=/dev/shm/handlefs-"
                                        "wire-key." +
                                            std::to_string(getpid())}) {}
  ~Compounds() {
    unlink(("/dev/shm/handlefs-wire-key." + std::to_string(getpid())).c_str());
  }
  std::vector<Answer> Run(const Chain& chain, Framing framing) {
    return Subs(kernel.Call(chain.Encode()), framing, chain.count());
  }
};

TEST_CASE("open and attributes in one, in every framing", "[compound]") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    f.tree.Write("a", "0123");
    uint64_t node = f.kernel.Node(kRoot, "a");
    auto subs = f.Run(Chain(kind.framing, Chain::kSeparable)
                          .Open(node, O_RDONLY)
                          .Getattr(node),
                      kind.framing);
    REQUIRE(subs[0].ok());
    REQUIRE(subs[1].ok());
    CheckAttr(subs[1].Get<abi::AttrOut>().attr, f.tree.Path("a"));
    uint64_t fh = subs[0].Get<abi::OpenOut>().fh;
    CHECK(f.kernel.Read(node, fh, 0, 10).payload == "0123");
    // The unique of a sub comes back.
    if (kind.framing != Framing::kV5) CHECK(subs[1].unique == 1);
  }
}

TEST_CASE("the first compound tells the framing", "[compound]") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.option);
    Compounds f("--dialect=auto");
    f.tree.Write("a", "");
    uint64_t node = f.kernel.Node(kRoot, "a");
    Chain chain(kind.framing, Chain::kSeparable);
    chain.Open(node, O_RDONLY).Getattr(node);
    for (const Answer& sub : f.Run(chain, kind.framing)) CHECK(sub.ok());
    // Without LOOKUP_HANDLE from INIT there is none.
    CHECK(
        f.kernel.Call(Message(Opcode::kLookupHandle, kRoot).Name("a")).error ==
        ENOSYS);
  }
}

TEST_CASE("a dependent means the node of the sub before it", "[compound]") {
  for (const Kind& kind : {kKinds[2], kKinds[3]}) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    f.tree.Write("a", "0123");
    Chain chain(kind.framing);
    chain.Add(Message(Opcode::kLookup, kRoot).Name("a"), 128)
        .Getattr(77, 0)
        .Add(Message(Opcode::kMkdir, kRoot)
                 .Put(abi::MkdirIn{.mode = 0750, .umask = 0})
                 .Name("d"),
             128)
        .Getattr(78, 2);
    auto subs = f.Run(chain, kind.framing);
    for (const Answer& sub : subs) REQUIRE(sub.ok());
    CheckAttr(subs[1].Get<abi::AttrOut>().attr, f.tree.Path("a"));
    CheckAttr(subs[3].Get<abi::AttrOut>().attr, f.tree.Path("d"));
    // What is not there has no attributes; the rest goes on.
    Chain missing(kind.framing);
    missing.Add(Message(Opcode::kLookup, kRoot).Name("none"), 128)
        .Getattr(77, 0)
        .Getattr(kRoot);
    subs = f.Run(missing, kind.framing);
    CHECK(subs[0].error == ENOENT);
    CHECK(subs[1].error == ENOENT);
    CHECK(subs[2].ok());
    // Not an earlier one, or one that gives no node.
    for (int depends_on : {0, 1, 5}) {
      Chain wrong(kind.framing);
      wrong.Getattr(kRoot).Getattr(kRoot, depends_on);
      CHECK(f.kernel.Call(wrong.Encode()).error == EINVAL);
    }
  }
}

TEST_CASE("a lookup stays counted when its attributes fail, in v7",
          "[compound]") {
  Served f(std::vector<std::string>{
      "--dialect=compound-v7", "--identity=fd",
      "--key_file=/dev/shm/handlefs-wire-key." + std::to_string(getpid())});
  f.tree.Write("a", "");
  Chain chain(Framing::kV7);
  chain.Add(Message(Opcode::kLookup, kRoot).Name("a"), 128)
      .Add(Message(Opcode::kGetattr, 1).Data("...."), 104, 0);
  auto subs = Subs(f.kernel.Call(chain.Encode()), Framing::kV7, 2);
  REQUIRE(subs[0].ok());
  CHECK(subs[1].error == EINVAL);
  uint64_t node = subs[0].Get<abi::EntryOut>().nodeid;
  CHECK(f.kernel.Getattr(node).ok());
  f.kernel.Forget(node, 1);
  CHECK(f.kernel.Getattr(node).error == ESTALE);
}

TEST_CASE("what never comes in a compound is refused there", "[compound]") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    Chain inner(kind.framing, kind.go_on);
    inner.Getattr(kRoot);
    Chain chain(kind.framing, kind.go_on);
    chain.Add(inner.Encode(), 0)
        .Add(FakeKernel::InitMessage(7, 45, OfferedFlags()), 64)
        .Add(Message(Opcode::kForget, kRoot).Put(abi::ForgetIn{.nlookup = 1}),
             0)
        .Add(Message(Opcode::kInterrupt, 0).Put(abi::InterruptIn{.unique = 2}),
             0)
        .Add(Message(Opcode::kDestroy, 0), 0)
        .Getattr(kRoot);
    auto subs = f.Run(chain, kind.framing);
    for (size_t i = 0; i + 1 < subs.size(); ++i) {
      CHECK(subs[i].error == EOPNOTSUPP);
    }
    CHECK(subs.back().ok());
  }
}

TEST_CASE("what cannot be parsed is refused before anything is done",
          "[compound]") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    auto start = [&] {
      Chain chain(kind.framing);
      chain.Add(Message(Opcode::kMkdir, kRoot)
                    .Put(abi::MkdirIn{.mode = 0750, .umask = 0})
                    .Name("d"),
                128);
      return chain;
    };
    CHECK(f.kernel.Call(Chain(kind.framing).Encode()).error == EINVAL);
    CHECK(f.kernel.Call(start().Junk("x").Encode()).error == EINVAL);
    CHECK(f.kernel.Call(start().Junk(std::string(40, '\0')).Encode()).error ==
          EINVAL);
    CHECK(f.kernel.Call(start().Add(Message(99u, 1), 0).Encode()).error ==
          EINVAL);
    CHECK(f.kernel
              .Call(start()
                        .Add(Message(Opcode::kGetattr, 1).SayLength(39), 104)
                        .Encode())
              .error == EINVAL);
    CHECK(f.kernel
              .Call(start()
                        .Add(Message(Opcode::kGetattr, 1).SayLength(400), 104)
                        .Encode())
              .error == EINVAL);
    Chain many = start();
    for (int i = 0; i < 16; ++i) many.Getattr(kRoot);
    CHECK(f.kernel.Call(many.Encode()).error == EINVAL);
    if (kind.framing == Framing::kV5) {
      for (uint32_t count : {0u, 2u, 17u, ~0u}) {
        CHECK(f.kernel.Call(start().SayCount(count).Encode()).error == EINVAL);
      }
    }
    if (kind.framing == Framing::kV5 || kind.framing == Framing::kV6) {
      // No room for the answer.
      CHECK(f.kernel.Call(start().SayResultSize(127).Encode()).error == EINVAL);
    }
    CHECK_FALSE(std::filesystem::exists(f.tree.Path("d")));
  }
}

TEST_CASE("an answer that is longer than the kernel has room for is ERANGE",
          "[compound]") {
  for (const Kind& kind : {kKinds[0], kKinds[1]}) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    std::filesystem::create_symlink(std::string(300, 'x'), f.tree.Path("long"));
    uint64_t link = f.kernel.Lookup(kRoot, "long").Get<abi::EntryOut>().nodeid;
    auto readlink = [&](uint32_t room) {
      Answer reply = f.kernel.Call(Chain(kind.framing)
                                       .Add(Message(Opcode::kReadlink, link), 0)
                                       .SayResultSize(room)
                                       .Encode());
      CHECK(reply.error == 0);
      return Subs(reply, kind.framing, 1)[0];
    };
    CHECK(readlink(301).payload == std::string(300, 'x'));
    for (uint32_t room : {0u, 1u, 299u, 300u}) {
      CAPTURE(room);
      CHECK(readlink(room).error == ENAMETOOLONG);
    }
    auto list = [&](uint32_t room) {
      Answer reply = f.kernel.Call(
          Chain(kind.framing)
              .Add(Message(Opcode::kGetxattr, kRoot)
                       .Put(abi::GetxattrIn{.size = 0, .padding = 0})
                       .Name("user.none"),
                   0)
              .SayResultSize(room)
              .Encode());
      CHECK(reply.error == 0);
      return Subs(reply, kind.framing, 1)[0].error;
    };
    CHECK(setxattr(f.tree.Path("").c_str(), "user.none", "v", 1, 0) == 0);
    CHECK(list(8) == 0);
    CHECK(list(7) == ERANGE);
  }
}

TEST_CASE("after a failure: stop, go on, or take everything back",
          "[compound]") {
  auto mkdir = [](const char* name) {
    return Message(Opcode::kMkdir, kRoot)
        .Put(abi::MkdirIn{.mode = 0750, .umask = 0})
        .Name(name);
  };
  auto rmdir = [](const char* name) {
    return Message(Opcode::kRmdir, kRoot).Name(name);
  };
  for (const Kind& kind : {kKinds[0], kKinds[1]}) {
    CAPTURE(kind.option);
    Compounds f(kind.option);
    auto chain = [&](uint32_t flags) {
      return Chain(kind.framing, flags)
          .Add(mkdir("a"), 128)
          .Add(rmdir("none"), 0)
          .Add(mkdir("b"), 128);
    };
    auto there = [&](const char* name) {
      return std::filesystem::exists(f.tree.Path(name));
    };
    auto subs = f.Run(chain(0), kind.framing);
    CHECK(subs[0].ok());
    CHECK(subs[1].error == ENOENT);
    CHECK(subs[2].error == ENOENT);
    CHECK((there("a") && !there("b")));
    std::filesystem::remove(f.tree.Path("a"));

    subs = f.Run(chain(kind.go_on), kind.framing);
    CHECK(subs[2].ok());
    CHECK((there("a") && there("b")));
    std::filesystem::remove(f.tree.Path("a"));
    std::filesystem::remove(f.tree.Path("b"));

    const uint32_t atomic =
        kind.framing == Framing::kV5 ? Chain::kAtomicV5 : Chain::kAtomicV6;
    Chain all(kind.framing, atomic);
    all.Add(mkdir("a"), 128)
        .Add(Message(Opcode::kSymlink, kRoot).Name("s").Name("to"), 128)
        .Add(rmdir("none"), 0);
    for (const Answer& sub : f.Run(all, kind.framing)) {
      CHECK(sub.error == ENOENT);
    }
    CHECK_FALSE(there("a"));
    CHECK_FALSE(std::filesystem::is_symlink(f.tree.Path("s")));
    // A removal in the middle could not be taken back.
    std::filesystem::create_directory(f.tree.Path("a"));
    Chain cannot(kind.framing, atomic);
    cannot.Add(rmdir("a"), 0).Getattr(kRoot);
    CHECK(f.kernel.Call(cannot.Encode()).error == EOPNOTSUPP);
    CHECK(there("a"));
  }
}

// Random ops, in compounds on one tree and one by one on its twin.
class Twins {
 public:
  explicit Twins(const Kind& kind)
      : kind_(kind), together_(kind.option), apart_("--dialect=mainline") {
    for (Compounds* f : {&together_, &apart_}) {
      f->tree.Write("a", "0123456789");
      std::filesystem::create_symlink("to", f->tree.Path("s"));
      std::filesystem::create_directory(f->tree.Path("d"));
    }
    known_.push_back({kRoot, kRoot});
    for (const char* name : {"a", "s", "d"}) {
      known_.push_back({together_.kernel.Node(kRoot, name),
                        apart_.kernel.Node(kRoot, name)});
    }
  }

  void Step(std::mt19937& random) {
    auto below = [&](size_t n) { return random() % n; };
    Chain chain(kind_.framing, kind_.go_on);
    std::vector<Answer> one_by_one;
    const size_t n = 1 + below(6);
    for (size_t i = 0; i < n; ++i) {
      auto node = known_[below(known_.size())];
      uint32_t choice = random();
      std::string name(1, static_cast<char>('a' + below(6)));
      chain.Add(Make(node.first, choice, name), 4200);
      one_by_one.push_back(apart_.kernel.Call(Make(node.second, choice, name)));
    }
    auto subs = together_.Run(chain, kind_.framing);
    for (size_t i = 0; i < n; ++i) {
      CAPTURE(i);
      CHECK(subs[i].error == one_by_one[i].error);
      CHECK(subs[i].payload.size() == one_by_one[i].payload.size());
    }
  }

  void SameTrees() {
    auto list = [](const TempTree& tree) {
      std::vector<std::string> out;
      namespace fs = std::filesystem;
      for (const auto& e : fs::recursive_directory_iterator(tree.source())) {
        struct stat st = HostStat(e.path());
        out.push_back(fs::relative(e.path(), tree.source()).string() + " " +
                      std::to_string(st.st_mode) + " " +
                      std::to_string(st.st_nlink));
      }
      std::sort(out.begin(), out.end());
      return out;
    };
    CHECK(list(together_.tree) == list(apart_.tree));
  }

 private:
  static Message Make(uint64_t node, uint32_t choice, const std::string& name) {
    switch (choice % 9) {
      case 0:
        return Message(Opcode::kGetattr, node).Put(abi::GetattrIn{});
      case 1:
        return Message(Opcode::kMkdir, node)
            .Put(abi::MkdirIn{.mode = 0755, .umask = 022})
            .Name(name);
      case 2:
        return Message(Opcode::kSymlink, node).Name(name).Name("target");
      case 3:
        return Message(Opcode::kUnlink, node).Name(name);
      case 4:
        return Message(Opcode::kRmdir, node).Name(name);
      case 5:
        return Message(Opcode::kReadlink, node);
      case 6:
        return Message(Opcode::kRename, node)
            .Put(abi::RenameIn{.newdir = kRoot})
            .Name(name)
            .Name(std::string(1, static_cast<char>('a' + choice / 9 % 6)));
      case 7:
        return Message(Opcode::kMknod, node)
            .Put(abi::MknodIn{
                .mode = S_IFREG | 0640, .rdev = 0, .umask = 0, .padding = 0})
            .Name(name);
      default:
        return Message(Opcode::kStatfs, node);
    }
  }

  const Kind& kind_;
  Compounds together_, apart_;
  std::vector<std::pair<uint64_t, uint64_t>> known_;
};

TEST_CASE("a compound does what its parts do", "[compound]") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.option);
    Twins twins(kind);
    std::mt19937 random(7);
    for (int i = 0; i < 300; ++i) twins.Step(random);
    twins.SameTrees();
  }
}

}  // namespace
}  // namespace handlefs::test
