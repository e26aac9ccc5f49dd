// What the compound parsers and the describers of compounds promise, in one
// call. Any bytes are fine.
#ifndef HANDLEFS_TEST_FUZZ_COMPOUND_ALL_H_
#define HANDLEFS_TEST_FUZZ_COMPOUND_ALL_H_

#include <cstring>
#include <string>
#include <string_view>

#include "decode_all.h"
#include "proto/explain.h"

namespace handlefs::test {

// One line or several, and nothing that writes on a terminal.
inline void RequireText(std::string_view text) {
  Require(!text.empty() && text.front() != '\n' && text.back() != '\n');
  for (char c : text) Require(c == '\n' || (c >= 0x20 && c < 0x7f));
}

inline void CheckParsed(const proto::Compound& compound, proto::Bytes body) {
  using proto::SubRequest;
  Require(compound.count >= 1 && compound.count <= proto::kMaxSubs);
  Require(compound.problem.empty() && !compound.problem_in_sub);
  const std::byte* end = body.data();
  for (size_t i = 0; i < compound.count; ++i) {
    const SubRequest& sub = compound.subs[i];
    const proto::RawRequest& raw = sub.raw;
    Require(proto::FindRow(raw.header.opcode) != nullptr);
    Require(raw.header.len == 40 + raw.fixed.size() + raw.tail.size());
    Require(raw.fixed.data() >= end + 40);
    end = raw.tail.data() + raw.tail.size();
    Require(end <= body.data() + body.size());
    if (sub.node_of != SubRequest::kOwnNode) {
      Require(sub.node_of < i);
      uint32_t maker = compound.subs[sub.node_of].raw.header.opcode;
      Require((proto::FindRow(maker)->flags & proto::kMakesEntry) != 0);
    }
    DecodeAsEach(raw, std::make_index_sequence<proto::kOpRows>());
  }
  Require(end == body.data() + body.size());
}

inline void ExplainBoth(const proto::RawRequest& raw,
                        const proto::Dialect* framing, proto::Bytes payload) {
  using namespace proto;
  RequireText(ExplainRequest(raw, framing).text);
  Asked asked = AskedBy(raw, framing);
  abi::OutHeader header{
      .len = static_cast<uint32_t>(sizeof(header) + payload.size()),
      .error = 0,
      .unique = 12};
  RequireText(ExplainReply(asked, header, payload).text);
  RequireText(ExplainReply(GuessAsked(header, payload), header, payload).text);
}

// `bytes` as what follows the header of a COMPOUND, in every framing; and as
// the payload of the reply to itself, and to the usual lookup.
inline void CompoundAll(proto::Bytes bytes) {
  using namespace proto;
  const Dialect* recognized = RecognizeCompound(bytes);
  RawRequest raw{};
  raw.header.opcode = static_cast<uint32_t>(Opcode::kCompound);
  raw.header.len = static_cast<uint32_t>(sizeof(raw.header) + bytes.size());
  raw.header.unique = 12;
  raw.tail = bytes;
  for (const Dialect* dialect : Dialects()) {
    if (!dialect->has_compounds()) continue;
    proto::Compound compound;
    Status status = dialect->read(bytes, compound);
    if (status.ok()) {
      CheckParsed(compound, bytes);
    } else {
      Require(status.error() == Errno(EINVAL) && !compound.problem.empty());
      Require(dialect != recognized);
    }
    ExplainBoth(raw, dialect, bytes);
  }
  ExplainBoth(raw, nullptr, bytes);

  Asked lookup{.opcode = raw.header.opcode,
               .framing = FindDialect("lookup-handle-v3"),
               .kernel_drops_partial = true,
               .result_size = 474,
               .subs = {{.opcode = 56},
                        {.opcode = 52, .node_of = 0},
                        {.opcode = 14, .node_of = 0}}};
  abi::OutHeader header{
      .len = static_cast<uint32_t>(sizeof(header) + bytes.size()),
      .error = 0,
      .unique = 12};
  for (std::string_view name :
       {"lookup-handle-v3", "compound-v6", "compound-v7"}) {
    lookup.framing = FindDialect(name);
    RequireText(ExplainReply(lookup, header, bytes).text);
  }
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_FUZZ_COMPOUND_ALL_H_
