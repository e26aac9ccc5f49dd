// What a kernel that is played sends in place of today's requests, and how: one
// row for each kernel, in a file of its own (layout_*.cc). To try another
// layout, add a file with a row, and the row to layouts.cc.
//
// Plain data and functions without state.
#ifndef HANDLEFS_TOOLS_STANDIN_LAYOUT_H_
#define HANDLEFS_TOOLS_STANDIN_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "proto/opcode.h"

namespace handlefs::standin {

// One request of a compound.
struct Sub {
  static constexpr uint8_t kOwnNode = 0xff;
  proto::Opcode op;
  uint64_t node;
  Buffer args;  // what follows its in header, extensions too
  // What the kernel copies from the reply, whatever its len says.
  size_t reply_size;
  // The earlier sub whose node is meant, in framings that can say so.
  uint8_t node_of = kOwnNode;
};

enum class Together : uint8_t {
  kInOrder,    // the first failure ends it
  kSeparable,  // each for itself
  kAtomic,     // all or nothing
};

// A compound before it is framed.
struct Plan {
  Together together = Together::kInOrder;
  std::vector<Sub> subs;

  size_t ResultSize() const {
    size_t size = 0;
    for (const Sub& sub : subs) size += sub.reply_size;
    return size;
  }
};

// How a compound stands on the wire.
struct Framing {
  // What follows the outer in header, `outer`, which also has the caller.
  void (*put)(const abi::InHeader& outer, const Plan& plan, Buffer& body);
  // What is wrong with the compound_out of a reply for `plan`.
  std::optional<std::string> (*check_head)(Bytes head, const Plan& plan);
  // The kernel has room for so many bytes of replies, and no more.
  bool limits_result;
};

enum class LookupForm : uint8_t {
  kPlain,
  kHandleAndStatx,   // LOOKUP_HANDLE and STATX in a compound
  kHandleInline,     // LOOKUP_HANDLE alone, answered with attributes
  kPlainAndGetattr,  // LOOKUP and GETATTR in a compound, to revalidate
};

enum class Often : uint8_t { kNever, kSometimes, kAlways };

struct Layout {
  std::string_view name;
  std::string_view about;  // one line for people
  const Framing* framing = nullptr;
  // INIT has the marks of the kernel of RFC v3, and its answer decides whether
  // handles are kept.
  bool offers_handles = false;
  LookupForm lookup = LookupForm::kPlain;
  // OPEN and OPENDIR come with a GETATTR.
  Often open_with_getattr = Often::kNever;
  // CREATE is MKOBJ_HANDLE, STATX and OPEN.
  bool creates_by_mkobj = false;
  // Every request has the handles of its nodes behind it. What is made by a
  // request whose reply has no handle is looked up at once.
  bool handles_everywhere = false;
  // After this error of a compound as a whole the kernel sends its first op as
  // a request of its own.
  bool (*replays)(int error) = nullptr;
  // After ENOSYS no compound is sent any more.
  bool remembers_enosys = false;
};

std::span<const Layout* const> Layouts();
const Layout* FindLayout(std::string_view name);

// For framings: an in header and the arguments of a sub.
void PutSub(const abi::InHeader& header, const Sub& sub, Buffer& body);

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_LAYOUT_H_
