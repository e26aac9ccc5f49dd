// Compounds built byte by byte, in each framing, from the tables of the
// protocol.
#ifndef HANDLEFS_TEST_UNIT_COMPOUNDS_H_
#define HANDLEFS_TEST_UNIT_COMPOUNDS_H_

#include <initializer_list>
#include <string_view>
#include <vector>

#include "bytes.h"

namespace handlefs::test {

// A sub request: header with its length, and what comes behind it.
inline Wire Sub(uint32_t opcode, uint64_t nodeid, const Wire& body = {},
                uint16_t extlen = 0) {
  Wire wire(40);
  wire.U32(4, opcode).U64(16, nodeid).U16(36, extlen).AppendBytes(body);
  return wire.U32(0, wire.size());
}

inline Wire Name(std::string_view name) {
  return Wire().Append(name).U8(name.size(), 0);
}
inline Wire HandleRecord(std::string_view handle) {
  Wire wire((8 + 2 + handle.size() + 7) / 8 * 8);
  return wire.U32(0, wire.size())
      .U32(4, 33)
      .U16(8, handle.size())
      .Text(10, handle);
}
inline Wire LookupSub(uint64_t dir, std::string_view name, const Wire& ext = {},
                      uint16_t extlen = 0) {
  return Sub(55, dir, Name(name).AppendBytes(ext), extlen);
}
inline Wire StatxSub(uint64_t node) {
  return Sub(52, node, Wire(24).U32(20, 0xfff));
}
inline Wire OpenSub(uint64_t node) { return Sub(14, node, Wire(8)); }
inline Wire GetattrSub(uint64_t node) { return Sub(3, node, Wire(16)); }

// Bodies: what follows the header of the COMPOUND.
inline Wire V5(uint32_t count, uint32_t flags, uint32_t result_size,
               std::initializer_list<Wire> subs) {
  Wire wire(24);
  wire.U32(0, count).U32(4, flags).U32(8, result_size);
  for (const Wire& sub : subs) wire.AppendBytes(sub);
  return wire;
}
inline Wire V6(uint32_t flags, uint32_t result_size,
               std::initializer_list<Wire> subs) {
  Wire wire(16);
  wire.U32(0, flags).U32(4, result_size);
  for (const Wire& sub : subs) wire.AppendBytes(sub);
  return wire;
}
inline Wire PrefixV7(uint8_t depends_on) { return Wire(4).U8(0, depends_on); }
inline Wire PrefixDev(uint8_t flags, uint8_t depends_on) {
  return Wire(8).U8(0, flags).U8(1, depends_on);
}
// v7 and dev: prefixes and subs in turn.
inline Wire V7(std::initializer_list<Wire> parts) { return V6(0, 0, parts); }

// The whole message, unique 6.
inline Wire Compound(const Wire& body) {
  Wire wire(40);
  wire.U32(4, 54).U64(8, 6).U32(24, 1000).U32(28, 1000).U32(32, 4242);
  return wire.AppendBytes(body).U32(0, wire.size());
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_UNIT_COMPOUNDS_H_
