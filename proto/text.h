// One line of text for any request and any reply, made from the opcode table:
//   rx 12 LOOKUP n1 "a"
//   tx 12 LOOKUP OK n42 ttl 1.0 ...
//   tx 12 LOOKUP ENOENT
// The trace, the tests and the tools print these; their form is pinned by
// golden tests. Never fails: bytes that do not decode are said to be malformed.
// Allocates; not for the hot path unless tracing is on.
#ifndef HANDLEFS_PROTO_TEXT_H_
#define HANDLEFS_PROTO_TEXT_H_

#include <string>
#include <string_view>

#include "proto/cursor.h"
#include "proto/opcode.h"

namespace handlefs::proto {

std::string DescribeRequest(const RawRequest& raw);
// `payload` is what follows the out header; `opcode` is the request's.
std::string DescribeReply(uint32_t opcode, const abi::OutHeader& header,
                          Bytes payload);
// A message with unique 0 from the server.
std::string DescribeNotification(Bytes message);

// "EINVAL", "ENOENT"; the number in decimal where it has no name.
std::string ErrnoName(int value);
// "LOOKUP"; "op77" where the table has no row.
std::string OpcodeName(uint32_t opcode);
// "0a0b"
std::string HexOf(Bytes bytes);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_TEXT_H_
