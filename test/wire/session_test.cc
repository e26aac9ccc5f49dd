// The life of a connection: INIT, what may come before it, and its end.
#include <fcntl.h>

#include "served.h"

namespace handlefs::test {
namespace {

// daemon/exit_code.h: scripts rely on it.
constexpr int kHandshakeFailed = 6;

const FakeKernel::Setup kByHand{.handshake =
                                    FakeKernel::Handshake::kLeftToTest};

TEST_CASE("a connection that never says anything ends well", "[session]") {
  Served served(kByHand);
}

TEST_CASE("INIT is answered with what both sides can do", "[session]") {
  Served served;
  const abi::InitOut& init = served.kernel.init();
  CHECK(init.major == 7);
  CHECK(init.minor == 45);
  CHECK(init.max_readahead <= 131072);
  CHECK(init.max_write >= 4096);
  CHECK(init.max_background > 0);
  CHECK(init.congestion_threshold <= init.max_background);
  CHECK(init.time_gran >= 1);
  CHECK(init.time_gran <= 1000000000);
  // Nothing that was not offered.
  CHECK((served.kernel.granted().bits() & ~OfferedFlags().bits()) == 0);
  auto granted = served.kernel.granted();
  CHECK(granted.Has(proto::init::kInitExt));
  CHECK(granted.Has(proto::init::kSetxattrExt));
  CHECK_FALSE(granted.Has(proto::init::kBit43));
  // None of these works over a socket.
  CHECK_FALSE(granted.Has(proto::init::kPassthrough));
  CHECK_FALSE(granted.Has(proto::init::kOverIoUring));
  CHECK_FALSE(granted.Has(proto::init::kFileOps));
  // A request fits what was announced, as the kernel counts it.
  CHECK((!granted.Has(proto::init::kMaxPages) ||
         init.max_pages * size_t{4096} >= init.max_write));
}

TEST_CASE("every bit is granted only if it is offered", "[session]") {
  for (int bit = 0; bit < 44; bit += 3) {
    CAPTURE(bit);
    auto offered = OfferedFlags();
    offered.Remove(static_cast<proto::init::Bit>(bit));
    Served served(FakeKernel::Setup{.offered = offered});
    CHECK((served.kernel.granted().bits() & ~offered.bits()) == 0);
    served.kernel.Barrier();
  }
}

TEST_CASE("a kernel that offers nothing is served", "[session]") {
  Served served(FakeKernel::Setup{.offered = {}});
  CHECK(served.kernel.granted().bits() == 0);
  served.tree.Write("a", "1234");
  CHECK(served.kernel.Lookup(kRoot, "a").Get<abi::EntryOut>().attr.size == 4);
}

TEST_CASE("the minor of the answer", "[session]") {
  for (uint32_t minor : {36u, 40u, 45u, 46u, 47u, 99u, 0xffffffffu}) {
    CAPTURE(minor);
    Served served(FakeKernel::Setup{.minor = minor});
    CHECK(served.kernel.init().major == 7);
    CHECK(served.kernel.init().minor == std::min(minor, proto::kMinor));
    served.kernel.Barrier();
  }
}

TEST_CASE("a kernel that is too old is refused", "[session]") {
  for (auto [major, minor] : {std::pair{7u, 30u},
                              {7u, 35u},
                              {7u, 0u},
                              {6u, 45u},
                              {0u, 0u},
                              {6u, 99u}}) {
    CAPTURE(major, minor);
    Served served(kByHand);
    Answer answer = served.kernel.Call(
        FakeKernel::InitMessage(major, minor, OfferedFlags()));
    CHECK(answer.error == EPROTO);
    CHECK(served.kernel.unanswered() == 0);
    served.kernel.Stop(kHandshakeFailed);
  }
}

TEST_CASE("a newer major is asked to come down", "[session]") {
  for (uint32_t major : {8u, 9u, 0xffffffffu}) {
    CAPTURE(major);
    Served served(kByHand);
    Answer answer =
        served.kernel.Call(FakeKernel::InitMessage(major, 0, OfferedFlags()));
    REQUIRE(answer.ok());
    CHECK(answer.Get<abi::InitOut>().major == 7);
    CHECK(answer.Get<abi::InitOut>().minor >= proto::kOldestMinor);
    CHECK(answer.Get<abi::InitOut>().minor <= proto::kMinor);
    // It is not the session's INIT; this one is.
    CHECK(served.kernel.Getattr(kRoot).error == EIO);
    answer = served.kernel.Call(FakeKernel::InitMessage(7, 45, OfferedFlags()));
    CHECK(answer.ok());
    CHECK(answer.Get<abi::InitOut>().minor == 45);
    served.kernel.Barrier();
  }
}

TEST_CASE("a second INIT is refused and changes nothing", "[session]") {
  Served served;
  for (uint32_t minor : {45u, 30u}) {
    CHECK(served.kernel.Call(FakeKernel::InitMessage(7, minor, OfferedFlags()))
              .error == EIO);
  }
  CHECK(served.kernel.Call(FakeKernel::InitMessage(8, 0, {})).error == EIO);
  served.kernel.Barrier();
}

TEST_CASE("an INIT that is malformed is refused", "[session]") {
  auto check = [](const Message& init) {
    Served served(kByHand);
    CHECK(served.kernel.Call(init).error == EINVAL);
    served.kernel.Stop(kHandshakeFailed);
  };
  for (size_t size : {0, 4, 7}) {
    check(FakeKernel::InitMessage(7, 45, OfferedFlags()).Cut(size));
  }
  check(FakeKernel::InitMessage(7, 45, OfferedFlags()).Data("more"));
  check(FakeKernel::InitMessage(7, 45, OfferedFlags()).Extension(32, "no"));
}

TEST_CASE("INIT of 16 bytes is an old kernel's", "[session]") {
  Served served(kByHand);
  CHECK(served.kernel.Call(FakeKernel::InitMessage(7, 30, {}).Cut(16)).error ==
        EPROTO);
  served.kernel.Stop(kHandshakeFailed);
}

TEST_CASE("before INIT there is nothing to have", "[session]") {
  Served served(kByHand);
  FakeKernel& kernel = served.kernel;
  served.tree.Write("a", "");
  CHECK(kernel.Getattr(kRoot).error == EIO);
  CHECK(kernel.Lookup(kRoot, "a").error == EIO);
  CHECK(kernel.Mkdir(kRoot, "d", 0755).error == EIO);
  CHECK(kernel.Open(kRoot, O_RDONLY).error == EIO);
  CHECK(kernel.Read(kRoot, 1, 0, 4096).error == EIO);
  CHECK(kernel.Call(Message(Opcode::kStatfs, kRoot)).error == EIO);
  kernel.Forget(kRoot, 1);
  CHECK_FALSE(std::filesystem::exists(served.tree.Path("d")));
  Answer answer = kernel.Call(FakeKernel::InitMessage(7, 45, OfferedFlags()));
  CHECK(answer.ok());
  kernel.Barrier();
}

TEST_CASE("SYNCFS is answered", "[session]") {
  Served served;
  CHECK(served.kernel.Call(Message(Opcode::kSyncfs, kRoot).Put(abi::SyncfsIn{}))
            .ok());
}

TEST_CASE("DESTROY is answered", "[session]") {
  Served served;
  CHECK(served.kernel.Call(Message(Opcode::kDestroy, 0)).ok());
}

TEST_CASE("these are never answered", "[session]") {
  Served served;
  FakeKernel& kernel = served.kernel;
  served.tree.Write("a", "");
  uint64_t node = kernel.Node(kRoot, "a");
  for (uint64_t id : {node, kRoot, uint64_t{0}, uint64_t{77}, ~uint64_t{0}}) {
    kernel.Forget(id, 1);
    kernel.Forget(id, 0);
    kernel.Forget(id, ~uint64_t{0});
  }
  std::string ones;
  for (uint64_t id : {node, kRoot, uint64_t{0}, uint64_t{77}}) {
    abi::ForgetOne one{.nodeid = id, .nlookup = 5};
    ones.append(reinterpret_cast<const char*>(&one), sizeof(one));
  }
  for (uint32_t count : {4u, 0u, 3u, 5u, 0xffffffffu}) {
    kernel.Send(Message(Opcode::kBatchForget, 0)
                    .Put(abi::BatchForgetIn{.count = count, .dummy = 0})
                    .Data(ones));
  }
  kernel.Send(Message(Opcode::kBatchForget, 0)
                  .Put(abi::BatchForgetIn{.count = 1, .dummy = 0})
                  .Data("short"));
  kernel.Send(Message(Opcode::kForget, node).Data("1234"));
  kernel.Send(Message(Opcode::kForget, node));
  kernel.Send(Message(Opcode::kNotifyReply, node)
                  .Put(abi::NotifyRetrieveIn{})
                  .Data("data"));
  kernel.Send(Message(Opcode::kNotifyReply, node));
  for (uint64_t target : {uint64_t{2}, uint64_t{0}, ~uint64_t{0}}) {
    kernel.Send(
        Message(Opcode::kInterrupt, 0).Put(abi::InterruptIn{.unique = target}));
  }
  kernel.Send(Message(Opcode::kInterrupt, 0));
  kernel.Barrier();
  // The root cannot be forgotten.
  CHECK(kernel.Lookup(kRoot, "a").ok());
}

TEST_CASE("opcodes that nobody knows", "[session]") {
  Served served;
  for (uint32_t opcode :
       {0u, 7u, 19u, 54u, 55u, 56u, 77u, 4095u, 4097u, 65536u, 0xffffffffu}) {
    CAPTURE(opcode);
    CHECK(served.kernel.Call(Message(opcode, kRoot)).error == ENOSYS);
    CHECK(served.kernel.Call(Message(opcode, 77).Data("whatever")).error ==
          ENOSYS);
  }
  served.kernel.Barrier();
}

TEST_CASE("a request that was sent again is answered under its new number",
          "[session]") {
  Served served;
  served.tree.Write("a", "");
  uint64_t again = kUniqueResend | 4242;
  Answer answer = served.kernel.Call(
      Message(Opcode::kLookup, kRoot).Name("a").WithUnique(again));
  CHECK(answer.ok());
  CHECK(answer.unique == again);
}

TEST_CASE("many requests in a row, each answered once", "[session]") {
  Served served;
  std::vector<uint64_t> uniques;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i) {
      uniques.push_back(served.kernel.Send(
          Message(Opcode::kGetattr, kRoot).Put(abi::GetattrIn{})));
    }
    for (uint64_t unique : uniques) CHECK(served.kernel.Receive(unique).ok());
    uniques.clear();
  }
}

}  // namespace
}  // namespace handlefs::test
