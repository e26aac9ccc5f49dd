#include "workload.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <thread>

#include "fixtures.h"
#include "floor.h"
#include "io/dev_transport.h"

namespace handlefs::bench {
namespace {

std::vector<std::string> NamesFor(const std::vector<std::string>& words) {
  auto chosen = SelectWorkloads(AllWorkloads({}), words);
  if (auto* word = std::get_if<std::string>(&chosen)) return {"none: " + *word};
  std::vector<std::string> names;
  for (const Workload& workload : std::get<0>(chosen)) {
    names.push_back(workload.info.name);
  }
  return names;
}

using List = std::vector<std::string>;

TEST_CASE("Workloads are chosen by name, group and pattern, in their order") {
  CHECK(NamesFor({"stat-warm", "getxattr-1"}) ==
        List{"getxattr-1", "stat-warm"});
  CHECK(NamesFor({"getxattr-*"}) ==
        List{"getxattr-1", "getxattr-2", "getxattr-4"});
  CHECK(NamesFor({"neighbour", "fsync-neighbour"}) == List{"fsync-neighbour"});
  CHECK(NamesFor({"nothing"}) == List{"none: nothing"});
  CHECK(NamesFor({"getxattr-1", "nothing"}) == List{"none: nothing"});
  CHECK(NamesFor({}) == NamesFor({"default"}));
  CHECK(NamesFor({"all"}).size() == AllWorkloads({}).size());
  CHECK(NamesFor({"default"}).size() < NamesFor({"all"}).size());
}

TEST_CASE("Every workload has a name of its own and can be measured") {
  std::set<std::string> names;
  for (const Workload& workload : AllWorkloads({.files = {1, 2}})) {
    INFO(workload.info.name);
    CHECK(names.insert(workload.info.name).second);
    CHECK(workload.measure);
    CHECK(workload.prepare);
    CHECK(workload.warm_up);
    CHECK_FALSE(workload.info.about.empty());
    CHECK(workload.info.clients >= 1);
    CHECK(workload.info.clients <= 4);
    for (char c : workload.info.name) {
      CHECK((c == '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')));
    }
  }
  CHECK(names.contains("files-1"));
  CHECK(names.contains("files-2"));
}

TEST_CASE("The data workloads are all combinations") {
  CHECK(NamesFor({"read-*"}).size() == 17);
  CHECK(NamesFor({"write-*"}).size() == 16);
}

TEST_CASE("A loop ends at its number of calls, or at its time") {
  Knobs knobs;
  ClientReport report;
  Client client({.root = "/r", .knobs = &knobs, .report = &report});
  knobs.seconds = 1000;
  knobs.max_ops = 100;
  uint64_t calls = 0;
  client.Loop(16, [&](uint64_t i) { calls += i == calls; });
  CHECK(calls == 112);  // whole batches
  CHECK(report.ops == 112);
  CHECK(report.nanoseconds > 0);

  knobs.seconds = 0.001;
  knobs.max_ops = UINT64_MAX;
  client.LoopMany([] { return 7; });
  CHECK(report.ops % 7 == 0);
  CHECK(report.nanoseconds >= 1000000);

  client.Once([] { return 3; });
  CHECK(report.ops == 3);
  client.Extra("x", 1.5);
  CHECK(report.extras == 1);
  CHECK(std::string(report.extra[0].name) == "x");
  CHECK(client.Path("a/b") == "/r/a/b");
}

TEST_CASE("Time per operation in the unit of the workload") {
  CHECK(InUnit({"a", "b", "us/op", "c", 1}, 1500) == 1.5);
  CHECK(InUnit({"a", "b", "ms", "c", 1}, 1500000) == 1.5);
}

// The floor over a socket that stands in for the device.
class Floor {
 public:
  Floor() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    ours_ = UniqueFd(ends[0]);
    auto transport = io::DevTransport::Create(UniqueFd(ends[1]), {});
    REQUIRE(transport.ok());
    transport_ = *std::move(transport);
    thread_ = std::thread([this] { (void)transport_->Run(handler_); });
  }
  ~Floor() {
    ours_.reset();
    thread_.join();
  }

  void Send(proto::Opcode op, uint64_t node, const std::string& body) {
    abi::InHeader header{};
    header.len = static_cast<uint32_t>(sizeof(header) + body.size());
    header.opcode = static_cast<uint32_t>(op);
    header.unique = (unique_ += 2);
    header.nodeid = node;
    std::string message(sizeof(header), '\0');
    std::memcpy(message.data(), &header, sizeof(header));
    message += body;
    REQUIRE(send(ours_.get(), message.data(), message.size(), 0) ==
            static_cast<ssize_t>(message.size()));
  }
  // The error of the reply, whose payload is as large as said.
  int Receive(size_t payload) {
    abi::OutHeader header{};
    buffer_.assign(4096, '\0');
    ssize_t n = recv(ours_.get(), buffer_.data(), buffer_.size(), 0);
    REQUIRE(n >= static_cast<ssize_t>(sizeof(header)));
    std::memcpy(&header, buffer_.data(), sizeof(header));
    CHECK(header.unique == unique_);
    CHECK(n == static_cast<ssize_t>(sizeof(header) + payload));
    return header.error;
  }
  template <typename T>
  T Payload() const {
    T value;
    std::memcpy(&value, buffer_.data() + sizeof(abi::OutHeader), sizeof(value));
    return value;
  }

 private:
  UniqueFd ours_;
  FloorHandler handler_;
  std::unique_ptr<io::DevTransport> transport_;
  std::thread thread_;
  std::string buffer_;
  uint64_t unique_ = 0;
};

std::string BytesOf(const auto& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

TEST_CASE("The floor gives the same answer to everything") {
  using proto::Opcode;
  Floor floor;
  abi::InitIn init{};
  init.major = 7;
  init.minor = 41;
  init.flags = 0xffffffff;
  floor.Send(Opcode::kInit, 0, BytesOf(init));
  CHECK(floor.Receive(sizeof(abi::InitOut)) == 0);
  CHECK(floor.Payload<abi::InitOut>().minor == 41);

  floor.Send(Opcode::kGetxattr, 2,
             BytesOf(abi::GetxattrIn{}) + std::string("trusted.x\0", 10));
  CHECK(floor.Receive(0) == -ENODATA);

  floor.Send(Opcode::kLookup, 1, std::string("any\0", 4));
  CHECK(floor.Receive(sizeof(abi::EntryOut)) == 0);
  uint64_t node = floor.Payload<abi::EntryOut>().nodeid;
  CHECK(node > 1);

  floor.Send(Opcode::kGetattr, node, BytesOf(abi::GetattrIn{}));
  CHECK(floor.Receive(sizeof(abi::AttrOut)) == 0);
  CHECK(S_ISREG(floor.Payload<abi::AttrOut>().attr.mode));
  floor.Send(Opcode::kGetattr, 1, BytesOf(abi::GetattrIn{}));
  CHECK(floor.Receive(sizeof(abi::AttrOut)) == 0);
  CHECK(S_ISDIR(floor.Payload<abi::AttrOut>().attr.mode));

  // No answer: the next one is that of the request behind it.
  floor.Send(Opcode::kForget, node, BytesOf(abi::ForgetIn{.nlookup = 1}));
  floor.Send(Opcode::kStatfs, 1, "");
  CHECK(floor.Receive(0) == -ENOSYS);
}

}  // namespace
}  // namespace handlefs::bench
