#include <optional>

#include "proto/explain.h"
#include "proto/text.h"
#include "proto/text_line.h"

namespace handlefs::proto {
namespace {

using internal::Caller;
using internal::Line;

std::string_view NameOf(OnFailure on_failure) {
  switch (on_failure) {
    case OnFailure::kGoOn:
      return "go-on";
    case OnFailure::kStop:
      return "stop";
    case OnFailure::kUndo:
      return "undo";
  }
  return "";
}

void Add(Explanation& out, Line line) {
  if (!out.text.empty()) out.text += '\n';
  out.problems += line.problems();
  out.text += std::move(line).Done();
}

Line SubLine(size_t index) { return Line("  ." + std::to_string(index)); }

// The text, and why it is malformed if it is.
void Arguments(Line& line, const RawRequest& raw, Caller caller) {
  const OpRow* row = FindRow(raw.header.opcode);
  int before = line.problems();
  internal::RequestText(line, raw, caller);
  if (row == nullptr) {
    line.Problem("unknown opcode");
  } else if (line.problems() != before) {
    line.Problem(internal::WhyMalformed(*row, raw));
  }
}

// The framings without dependencies have a placeholder where the kernel does
// not know the node yet.
bool LacksPlaceholder(const Compound& compound, size_t index) {
  if (!compound.kernel_drops_partial || index == 0) return false;
  const OpRow* before = FindRow(compound.subs[index - 1].raw.header.opcode);
  const SubRequest& sub = compound.subs[index];
  return (before->flags & kGivesHandle) != 0 &&
         sub.node_of == SubRequest::kOwnNode &&
         sub.raw.header.opcode == static_cast<uint32_t>(Opcode::kStatx);
}

Line DescribeSub(const Compound& compound, size_t index) {
  const SubRequest& sub = compound.subs[index];
  const abi::InHeader& header = sub.raw.header;
  Line line = SubLine(index);
  line.Word(OpcodeName(header.opcode));
  if (sub.node_of != SubRequest::kOwnNode) {
    line.Word("n.").Digits(sub.node_of, 10);
  } else {
    line.Node(header.nodeid);
  }
  Arguments(line, sub.raw, Caller::kOmit);
  if (sub.node_of == SubRequest::kOwnNode) {
    if (header.nodeid == 0) {
      line.Problem("no node");
    } else if (LacksPlaceholder(compound, index)) {
      line.Problem("placeholder missing");
    }
  }
  if (!MayBeSub(*FindRow(header.opcode))) {
    line.Problem("never part of a compound");
  }
  return line;
}

const Dialect* FramingOf(const RawRequest& raw, const Dialect* framing) {
  if (framing != nullptr && framing->has_compounds()) return framing;
  return RecognizeCompound(raw.tail);
}

bool IsCompound(const RawRequest& raw) {
  return raw.header.opcode == static_cast<uint32_t>(Opcode::kCompound);
}

Explanation ExplainCompound(const RawRequest& raw, const Dialect* told) {
  const abi::InHeader& header = raw.header;
  const Dialect* framing = FramingOf(raw, told);
  const bool fits = framing != nullptr;
  if (!fits) framing = &LikelyFraming(raw.tail);
  Compound compound;
  const bool refused = !framing->read(raw.tail, compound).ok();

  Line line("rx", header.unique, OpcodeName(header.opcode));
  if (header.nodeid != 0) line.Node(header.nodeid);
  line.Word(framing->name).Raw(fits ? "" : "?");
  line.Word(NameOf(compound.on_failure)).Value(uint64_t{compound.count});
  line.Word(compound.count == 1 ? "sub" : "subs");
  size_t needed = 0;
  bool mutates = false;
  for (const SubRequest& sub : compound.chain()) {
    const OpRow& row = *FindRow(sub.raw.header.opcode);
    needed += FixedReplySize(row, framing->entry);
    mutates = mutates || (row.flags & kMutates) != 0;
  }
  // Theirs do not count, and are 0 in v6.
  if (mutates) {
    line.Id("u", header.uid).Id("g", header.gid).Id("p", header.pid);
  }
  if (header.total_extlen != 0) line.Problem("total_extlen is not 0");
  if (refused && !compound.problem_in_sub) line.Problem(compound.problem);
  if (compound.result_size < needed) {
    line.Problem("result_size ").Digits(compound.result_size, 10);
    line.Raw(" is less than the ").Digits(needed, 10).Raw(" of the replies");
  }
  Explanation out;
  Add(out, std::move(line));
  for (size_t i = 0; i < compound.count; ++i) {
    Add(out, DescribeSub(compound, i));
  }
  if (refused && compound.problem_in_sub) {
    Add(out, std::move(SubLine(compound.count).Problem(compound.problem)));
  }
  return out;
}

}  // namespace

Explanation ExplainRequest(const RawRequest& raw, const Dialect* framing) {
  if (IsCompound(raw)) return ExplainCompound(raw, framing);
  Line line("rx", raw.header.unique, OpcodeName(raw.header.opcode));
  if (raw.header.nodeid != 0) line.Node(raw.header.nodeid);
  Arguments(line, raw, Caller::kShow);
  Explanation out;
  Add(out, std::move(line));
  return out;
}

Asked AskedBy(const RawRequest& raw, const Dialect* told) {
  Asked asked;
  asked.opcode = raw.header.opcode;
  if (!IsCompound(raw)) return asked;
  const Dialect* framing = FramingOf(raw, told);
  Compound compound;
  if (framing == nullptr || !framing->read(raw.tail, compound).ok()) {
    return asked;
  }
  asked.framing = framing;
  asked.kernel_drops_partial = compound.kernel_drops_partial;
  asked.result_size = compound.result_size;
  for (const SubRequest& sub : compound.chain()) {
    asked.subs.push_back({.opcode = sub.raw.header.opcode,
                          .node_of = sub.node_of,
                          .nodeid = sub.raw.header.nodeid});
  }
  return asked;
}

}  // namespace handlefs::proto
