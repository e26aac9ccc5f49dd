// Compounds for the fuzzer of the daemon: what the posted kernels send, and any
// other mix of good requests, in each framing.
#ifndef HANDLEFS_TEST_FUZZ_CHAINS_H_
#define HANDLEFS_TEST_FUZZ_CHAINS_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/dialect.h"
#include "script.h"

namespace handlefs::test {

class ChainMaker {
 public:
  // `below(n)` is a random number less than n.
  using Below = std::function<uint64_t(uint64_t)>;
  ChainMaker(std::string_view dialect, Below below)
      : framing_(dialect.starts_with("lookup") || dialect == "auto" ? kV5
                 : dialect == "compound-v6"                         ? kV6
                 : dialect == "compound-v7"                         ? kV7
                                                                    : kDev),
        inline_(dialect == "lookup-handle-inline"),
        below_(std::move(below)) {}

  // What the kernel was given.
  void Learn(uint64_t node, const std::string& handle) {
    if (known_.size() < 64) known_.emplace_back(node, handle);
  }

  std::string Make(const Scene& scene, int serial) {
    subs_.clear();
    result_size_ = 0;
    switch (below_(5)) {
      case 0:
        Add(LookUp(scene), kNone);
        Add(Statx(1), 0);
        break;
      case 1:
        Add(MakeObject(scene, serial), kNone);
        Add(Statx(1), 0);
        Add(Message(proto::Opcode::kOpen, 1)
                .Put(abi::OpenIn{.flags = 2, .open_flags = 0}),
            0);
        break;
      case 2:
        Add(Message(proto::Opcode::kOpen, scene.file)
                .Put(abi::OpenIn{.flags = O_RDONLY, .open_flags = 0}),
            kNone);
        Add(Message(proto::Opcode::kGetattr, scene.file).Put(abi::GetattrIn{}),
            kNone);
        break;
      default:
        for (uint64_t n = 1 + below_(6); n > 0; --n)
          AddAny(scene, serial * 8 + static_cast<int>(n));
    }
    return Encode();
  }

 private:
  enum Framing { kV5, kV6, kV7, kDev };
  static constexpr int kNone = -1;
  struct Sub {
    std::string bytes;
    int depends_on;
  };

  void Add(const Message& message, int depends_on) {
    const proto::OpRow* row = proto::FindRow(message.opcode());
    if (row != nullptr) {
      result_size_ += static_cast<uint32_t>(
          proto::FixedReplySize(*row, inline_ ? proto::EntryShape::kInline
                                              : proto::EntryShape::kEntry2));
    }
    subs_.push_back({message.Encode(), depends_on});
  }
  void AddAny(const Scene& scene, int serial) {
    const proto::OpRow& row = proto::kOpTable[below_(proto::kOpRows)];
    // The answers of those go on behind their struct.
    result_size_ += static_cast<uint32_t>(below_(4) * 1024);
    int depends_on = kNone;
    if (!subs_.empty() && below_(3) == 0) {
      depends_on = static_cast<int>(below_(subs_.size()));
    }
    Add(row.op == proto::Opcode::kLookupHandle
            ? LookUp(scene)
            : GoodMessage(row, scene, serial),
        depends_on);
  }
  Message LookUp(const Scene& scene) {
    static constexpr std::string_view kNames[] = {"inner", "empty", "missing",
                                                  ".", ".."};
    std::string_view name = kNames[below_(std::size(kNames))];
    if (known_.empty() || below_(2) == 0) {
      return Message(proto::Opcode::kLookupHandle, scene.dir).Name(name);
    }
    const auto& [node, handle] = known_[below_(known_.size())];
    auto size = static_cast<uint16_t>(handle.size());
    std::string record(reinterpret_cast<const char*>(&size), sizeof(size));
    Message message(proto::Opcode::kLookupHandle, node);
    message.Name(name).Extension(33, record + handle);
    if (below_(2) == 0) message.SayExtensions(0);
    return message;
  }
  static Message Statx(uint64_t node) {
    abi::StatxIn in{};
    in.sx_mask = 0xfff;
    return Message(proto::Opcode::kStatx, node).Put(in);
  }
  Message MakeObject(const Scene& scene, int serial) {
    return Message(proto::Opcode::kMkobjHandle, scene.dir)
        .Put(abi::CreateIn{.flags = O_RDWR | O_CREAT,
                           .mode = S_IFREG | 0644,
                           .umask = 022,
                           .open_flags = 0})
        .Name("made" + std::to_string(serial));
  }

  std::string Encode() {
    Message message(proto::Opcode::kCompound, 0);
    auto flags = static_cast<uint32_t>(below_(3) == 0 ? below_(8) : 0);
    switch (framing_) {
      case kV5:
        message.Put(
            abi::CompoundInV5{.count = static_cast<uint32_t>(subs_.size()),
                              .flags = flags,
                              .result_size = result_size_,
                              .hole = 0,
                              .reserved = 0});
        break;
      case kV6:
        message.Put(abi::CompoundInV6{
            .flags = flags, .result_size = result_size_, .reserved = 0});
        break;
      case kV7:
      case kDev:
        message.Put(abi::CompoundV7{});
    }
    for (const Sub& sub : subs_) {
      auto on = static_cast<uint8_t>(sub.depends_on);  // 0xff for none
      if (framing_ == kV7) {
        message.Put(abi::CompoundSubV7{.dep_index = on, .reserved = {}});
      } else if (framing_ == kDev) {
        message.Put(abi::CompoundSubDev{
            .flags = static_cast<uint8_t>(sub.depends_on == kNone ? 0 : 4),
            .sub_dep_index = on,
            .padding = 0,
            .reserved = 0});
      }
      message.Data(sub.bytes);
    }
    return message.Encode();
  }

  const Framing framing_;
  const bool inline_;
  const Below below_;
  std::vector<Sub> subs_;
  uint32_t result_size_ = 0;
  std::vector<std::pair<uint64_t, std::string>> known_;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_FUZZ_CHAINS_H_
