#include "chain.h"

#include <cstring>

namespace handlefs::test {
namespace {

constexpr uint32_t kLookupResult = 40 + 130;

template <typename T>
std::string Raw(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

Chain& Chain::Add(Message sub, uint32_t result, int depends_on) {
  std::string prefix;
  if (framing_ == Framing::kV7) {
    prefix = Raw(abi::CompoundSubV7{
        .dep_index = static_cast<uint8_t>(depends_on), .reserved = {}});
  } else if (framing_ == Framing::kDev) {
    bool depends = depends_on != kNone;
    prefix = Raw(abi::CompoundSubDev{
        .flags = static_cast<uint8_t>(depends ? 4 : 0),
        .sub_dep_index = static_cast<uint8_t>(depends ? depends_on : 0),
        .padding = 0,
        .reserved = 0});
  }
  // The extension is there, and the header does not say so.
  sub.SayExtensions(0);
  sub.WithUnique(framing_ == Framing::kV5 ? 0 : subs_.size());
  subs_.push_back(prefix + sub.Encode());
  result_size_ += result;
  return *this;
}

Chain& Chain::LookupHandle(uint64_t dir, std::string_view name,
                           std::string_view handle) {
  Message lookup(Opcode::kLookupHandle, dir);
  lookup.Name(name);
  if (!handle.empty()) lookup.Extension(33, HandleBody(handle));
  return Add(lookup, kLookupResult);
}

Chain& Chain::Statx(uint64_t node) {
  abi::StatxIn in{};
  in.sx_mask = 0xfff;
  return Add(Message(Opcode::kStatx, node).Put(in), sizeof(abi::StatxOut));
}

Chain& Chain::Getattr(uint64_t node, int depends_on) {
  return Add(Message(Opcode::kGetattr, node).Put(abi::GetattrIn{}),
             sizeof(abi::AttrOut), depends_on);
}

Chain& Chain::Open(uint64_t node, uint32_t flags) {
  return Add(Message(Opcode::kOpen, node)
                 .Put(abi::OpenIn{.flags = flags, .open_flags = 0}),
             sizeof(abi::OpenOut));
}

Chain& Chain::Mkobj(uint64_t dir, std::string_view name, uint32_t flags,
                    uint32_t mode) {
  return Add(Message(Opcode::kMkobjHandle, dir)
                 .Put(abi::CreateIn{.flags = flags,
                                    .mode = mode | S_IFREG,
                                    .umask = 0,
                                    .open_flags = 0})
                 .Name(name),
             kLookupResult);
}

Message Chain::Encode() const {
  Message out(Opcode::kCompound, 0);
  const uint32_t count = count_.value_or(static_cast<uint32_t>(subs_.size()));
  switch (framing_) {
    case Framing::kV5:
      out.Put(abi::CompoundInV5{.count = count,
                                .flags = flags_,
                                .result_size = result_size_,
                                .hole = 0,
                                .reserved = 0});
      break;
    case Framing::kV6:
      out.Put(abi::CompoundInV6{
          .flags = flags_, .result_size = result_size_, .reserved = 0});
      break;
    case Framing::kDev:
    case Framing::kV7:
      out.Put(abi::CompoundV7{});
  }
  for (const std::string& sub : subs_) out.Data(sub);
  return out.Data(junk_);
}

std::vector<Answer> Subs(const Answer& reply, Framing framing, size_t count) {
  if (!reply.ok()) throw WireFailure("the compound failed as a whole");
  std::string_view rest = reply.payload;
  if (rest.size() < 16) throw WireFailure("no compound_out");
  if (framing == Framing::kV5 && reply.Get<uint32_t>() != count) {
    throw WireFailure("compound_out.count is not the number of subs");
  }
  rest.remove_prefix(16);
  std::vector<Answer> subs;
  while (!rest.empty()) {
    abi::OutHeader header;
    if (rest.size() < sizeof(header)) throw WireFailure("half a sub header");
    std::memcpy(&header, rest.data(), sizeof(header));
    if (header.len < sizeof(header) || header.len > rest.size() ||
        header.error > 0 || header.error <= -512 ||
        (header.error != 0 && header.len != sizeof(header))) {
      throw WireFailure("a sub reply's header is wrong");
    }
    subs.push_back(Answer{.unique = header.unique,
                          .error = -header.error,
                          .payload = std::string(rest.substr(
                              sizeof(header), header.len - sizeof(header)))});
    rest.remove_prefix(header.len);
  }
  if (subs.size() != count) throw WireFailure("a sub has no reply");
  return subs;
}

std::string HandleBody(std::string_view handle) {
  return Raw(abi::FileHandle{.size = static_cast<uint16_t>(handle.size())}) +
         std::string(handle);
}

std::string HandleIn(const Answer& sub, size_t at) {
  auto head = sub.Get<abi::FileHandle>(at);
  return sub.payload.substr(at + sizeof(head), head.size);
}

}  // namespace handlefs::test
