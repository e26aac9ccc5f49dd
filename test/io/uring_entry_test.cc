// What is read from a ring entry is what the device would have brought, byte
// for byte: the entry's buffers are filled here as the kernel fills them.
#include "io/uring_entry.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "io/slot.h"
#include "io/uring_lane.h"
#include "link.h"
#include "proto/opcode.h"

namespace handlefs::test {
namespace {

constexpr size_t kRoom = 1 << 16;

// An entry of a lane that was never begun: what is finished stays here.
class Filled {
 public:
  // `first`: bytes behind the header that are the kernel's first argument, and
  // so come in op_in; all else is payload.
  Filled(const std::string& message, size_t first,
         io::UringMemory* memory = nullptr)
      : entry_(&lane_, &queue_, kRoom, memory) {
    auto& head =
        *static_cast<abi::UringReqHeader*>(entry_.buffers()[0].iov_base);
    std::memset(&head, 0xee, sizeof(head));
    const size_t payload = message.size() - sizeof(abi::InHeader) - first;
    REQUIRE(first <= sizeof(head.op_in));
    REQUIRE(payload <= entry_.buffers()[1].iov_len);
    const char* at = message.data();
    std::memcpy(head.in_out, at, sizeof(abi::InHeader));
    std::memcpy(head.op_in, at += sizeof(abi::InHeader), first);
    std::memcpy(entry_.buffers()[1].iov_base, at + first, payload);
    head.ring_ent_in_out = {.flags = 0,
                            .commit_id = 77,
                            .payload_sz = static_cast<uint32_t>(payload),
                            .padding = 0,
                            .reserved = 0};
  }
  io::UringEntry& entry() { return entry_; }
  abi::UringReqHeader& head() {
    return *static_cast<abi::UringReqHeader*>(entry_.buffers()[0].iov_base);
  }

  // What a server would find that came after this one.
  io::UringEntry Successor(io::UringMemory& memory) {
    auto slots = memory.Inherited();
    REQUIRE(slots.size() == 1);
    return {&lane_, &queue_, kRoom, &memory, slots[0]};
  }

 private:
  UniqueFd device_{open("/dev/null", O_RDWR | O_CLOEXEC)};
  Handler handler_;
  io::UringLane lane_{{.device = device_,
                       .queues = {0},
                       .cpu = {},
                       .payload_size = kRoom,
                       .depth = 1,
                       .handler = &handler_,
                       .report = [](const std::string&) {}}};
  io::UringQueue queue_;
  io::UringEntry entry_;
};

std::string Text(proto::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Both ways of one message, and what is left of the request once the reply's
// buffer is written full.
void CheckSame(const std::string& message, size_t first) {
  auto wanted =
      proto::Split(std::as_bytes(std::span(message)), sizeof(abi::SetxattrIn));
  REQUIRE(wanted.ok());
  Filled filled(message, first);
  auto got = filled.entry().Read();
  REQUIRE(got.ok());
  CHECK(std::memcmp(&got->header, &wanted->header, sizeof(abi::InHeader)) == 0);
  CHECK(Text(got->fixed) == Text(wanted->fixed));
  CHECK(Text(got->tail) == Text(wanted->tail));
  const auto op = static_cast<proto::Opcode>(got->header.opcode);
  if (op == proto::Opcode::kWrite || op == proto::Opcode::kSetxattr) return;
  auto reply = filled.entry().payload();
  std::memset(reply.data(), 0x55, reply.size());
  CHECK(Text(got->fixed) == Text(wanted->fixed));
  CHECK(Text(got->tail) == Text(wanted->tail));
}

std::vector<std::string> Corpus(const std::string& name) {
  std::vector<std::string> all;
  for (const auto& file :
       std::filesystem::directory_iterator(HANDLEFS_TEST_CORPUS + name)) {
    std::ifstream in(file.path(), std::ios::binary);
    all.emplace_back(std::istreambuf_iterator<char>(in),
                     std::istreambuf_iterator<char>());
  }
  return all;
}

TEST_CASE("a request of every row is the same by ring and by device",
          "[uring]") {
  size_t seen = 0;
  for (const std::string& message : Corpus("")) {
    uint32_t opcode = 0;
    std::memcpy(&opcode, message.data() + offsetof(abi::InHeader, opcode), 4);
    const proto::OpRow* row = proto::FindRow(opcode);
    REQUIRE(row != nullptr);
    // A compound's own header has a size of its own in each framing: below.
    if ((row->flags & proto::kDevOnly) != 0 ||
        row->op == proto::Opcode::kCompound) {
      continue;
    }
    CAPTURE(row->name);
    CheckSame(message, row->fixed_in);
    ++seen;
  }
  CHECK(seen > 40);
}

TEST_CASE("a compound is the same by ring and by device", "[uring]") {
  // The kernel's first argument is compound_in, 24 bytes in v5 and 16 in the
  // others; that any other split gives the same shows that none is believed.
  for (size_t first : {size_t{24}, size_t{16}, size_t{0}}) {
    size_t seen = 0;
    for (const std::string& body : Corpus("-compound")) {
      if (body.size() < first) continue;
      abi::InHeader header{};
      header.len = static_cast<uint32_t>(sizeof(header) + body.size());
      header.opcode = static_cast<uint32_t>(proto::Opcode::kCompound);
      header.unique = 6;
      std::string message(reinterpret_cast<const char*>(&header),
                          sizeof(header));
      CheckSame(message + body, first);
      ++seen;
    }
    CHECK(seen >= 28);
  }
}

TEST_CASE("the reply to a compound lies where the kernel looks", "[uring]") {
  std::string message(sizeof(abi::InHeader) + 24, '\0');
  auto& header = *reinterpret_cast<abi::InHeader*>(message.data());
  header.len = static_cast<uint32_t>(message.size());
  header.opcode = static_cast<uint32_t>(proto::Opcode::kCompound);
  header.unique = 6;
  Filled filled(message, 24);
  REQUIRE(filled.entry().Read().ok());
  io::Token token(&filled.entry(), Unique{6});
  std::memset(token.payload().data(), 0x33, 500);
  token.Reply(500);
  filled.entry().PutReply();
  abi::OutHeader out{};
  std::memcpy(&out, filled.head().in_out, sizeof(out));
  CHECK(out.unique == 6);
  CHECK(out.error == 0);
  CHECK(out.len == sizeof(out) + 500);
  CHECK(filled.head().ring_ent_in_out.payload_sz == 500);
  CHECK(filled.entry().commit_id() == 77);
  CHECK(Text(filled.entry().payload().first(500)) == std::string(500, 0x33));
}

TEST_CASE("a server that was killed while it answered left the request whole",
          "[uring]") {
  size_t seen = 0;
  for (const std::string& message : Corpus("")) {
    auto wanted = proto::Split(std::as_bytes(std::span(message)),
                               sizeof(abi::SetxattrIn));
    REQUIRE(wanted.ok());
    const proto::OpRow* row = proto::FindRow(wanted->header.opcode);
    if ((row->flags & proto::kDevOnly) != 0 ||
        row->op == proto::Opcode::kCompound) {
      continue;
    }
    CAPTURE(row->name);
    auto memory = io::UringMemory::Create(kRoom);
    REQUIRE(memory != nullptr);
    Filled filled(message, row->fixed_in, memory.get());
    REQUIRE(filled.entry().Read().ok());
    auto reply = filled.entry().payload();
    std::memset(reply.data(), 0x55, reply.size());
    {
      io::UringEntry successor = filled.Successor(*memory);
      CHECK_FALSE(successor.is_answered());
      auto got = successor.Read();
      REQUIRE(got.ok());
      CHECK(std::memcmp(&got->header, &wanted->header, sizeof(abi::InHeader)) ==
            0);
      CHECK(Text(got->fixed) == Text(wanted->fixed));
      CHECK(Text(got->tail) == Text(wanted->tail));
    }
    ++seen;
  }
  CHECK(seen > 40);
}

TEST_CASE("an answer that the kernel did not get is brought to it later",
          "[uring]") {
  std::string message(sizeof(abi::InHeader) + sizeof(abi::WriteIn) + 5000, 'd');
  auto& header = *reinterpret_cast<abi::InHeader*>(message.data());
  header.len = static_cast<uint32_t>(message.size());
  header.opcode = static_cast<uint32_t>(proto::Opcode::kWrite);
  header.unique = 6;
  auto memory = io::UringMemory::Create(kRoom);
  REQUIRE(memory != nullptr);
  Filled filled(message, sizeof(abi::WriteIn), memory.get());
  REQUIRE(filled.entry().Read().ok());
  io::Token token(&filled.entry(), Unique{6});
  std::memset(token.payload().data(), 0x33, sizeof(abi::WriteOut));
  token.Reply(sizeof(abi::WriteOut));
  io::UringEntry successor = filled.Successor(*memory);
  REQUIRE(successor.is_answered());
  successor.PutReply();
  abi::OutHeader out{};
  std::memcpy(&out, filled.head().in_out, sizeof(out));
  CHECK(out.unique == 6);
  CHECK(out.len == sizeof(out) + sizeof(abi::WriteOut));
  CHECK(filled.head().ring_ent_in_out.payload_sz == sizeof(abi::WriteOut));
  const auto* data =
      static_cast<const char*>(filled.entry().buffers()[1].iov_base);
  CHECK(std::string(data, sizeof(abi::WriteOut) + 1) ==
        std::string(sizeof(abi::WriteOut), 0x33) + 'd');
}

TEST_CASE("sizes that contradict each other are refused", "[uring]") {
  std::string message(sizeof(abi::InHeader) + 24 + 100, '\0');
  auto& header = *reinterpret_cast<abi::InHeader*>(message.data());
  header.len = static_cast<uint32_t>(message.size());
  header.opcode = static_cast<uint32_t>(proto::Opcode::kCompound);
  Filled filled(message, 24);
  REQUIRE(filled.entry().Read().ok());
  auto& size = filled.head().ring_ent_in_out.payload_sz;
  for (size_t bad : {size_t{124 + 1}, kRoom + 1, size_t{0xffffffff}}) {
    size = static_cast<uint32_t>(bad);
    CAPTURE(bad);
    CHECK_FALSE(filled.entry().Read().ok());
  }
  // More in op_in than it has room for.
  size = 0;
  std::string much(sizeof(abi::InHeader) + 129, '\0');
  header.len = static_cast<uint32_t>(much.size());
  std::memcpy(filled.head().in_out, &header, sizeof(header));
  CHECK_FALSE(filled.entry().Read().ok());
}

}  // namespace
}  // namespace handlefs::test
