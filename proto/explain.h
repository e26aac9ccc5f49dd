// Requests and replies as text, as in text.h, for those who look for what is
// wrong: a COMPOUND gets a line of its own for each sub, and what is malformed
// or would trip the kernel that reads it is flagged, with the reason:
//   rx 6 COMPOUND lookup-handle-v3 stop 2 subs
//     .0 LOOKUP_HANDLE n7 "foo" +handle(000102030405060708090a0b)
//     .1 STATX n.0 flags 0x0 mask 0xfff
//   tx 6 COMPOUND OK 2 subs
//     .0 LOOKUP_HANDLE OK n0 gen 1 ttl 1.000 handle(0 bytes) ! nodeid 0 ...
//     .1 STATX OK ino 9001 mode 0100644 size 5 nlink 1 mask 0xfff ttl 1.000
// "n.0" is the node that sub 0 yields.
#ifndef HANDLEFS_PROTO_EXPLAIN_H_
#define HANDLEFS_PROTO_EXPLAIN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proto/dialect.h"

namespace handlefs::proto {

struct Explanation {
  std::string text;  // lines; no newline at the end
  int problems = 0;
  // Of a reply: nodeids, and the handles that they were given with.
  std::vector<std::pair<uint64_t, std::string>> handles;
};

// `framing` is that of compounds, if it is known; null recognises it.
Explanation ExplainRequest(const RawRequest& raw, const Dialect* framing);

// What has to be known of a request to explain its reply.
struct Asked {
  struct Sub {
    uint32_t opcode = 0;
    uint8_t node_of = SubRequest::kOwnNode;
    uint64_t nodeid = 0;
  };
  uint32_t opcode = 0;
  // Of a COMPOUND whose framing is known.
  const Dialect* framing = nullptr;
  bool kernel_drops_partial = false;
  size_t result_size = SIZE_MAX;
  std::vector<Sub> subs;
  // Not a request's, but what a reply looks like.
  bool guessed = false;
};
Asked AskedBy(const RawRequest& raw, const Dialect* framing);
// For a reply whose request is not known: only compounds can be told.
Asked GuessAsked(const abi::OutHeader& header, Bytes payload);

Explanation ExplainReply(const Asked& asked, const abi::OutHeader& header,
                         Bytes payload);

Explanation ExplainNotification(Bytes message);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_EXPLAIN_H_
