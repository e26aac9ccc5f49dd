// A request of the kernel that the server has and has not answered yet.
#ifndef HANDLEFS_TOOLS_STANDIN_EXCHANGE_H_
#define HANDLEFS_TOOLS_STANDIN_EXCHANGE_H_

#include <cstdint>
#include <string>

#include "bytes.h"
#include "layout.h"
#include "proto/abi.h"

namespace handlefs::standin {

// What the server got in its place.
enum class Form : uint8_t {
  kPlain,          // the same (perhaps with extensions)
  kLookup,         // COMPOUND{LOOKUP_HANDLE, STATX}
  kLookupInline,   // LOOKUP_HANDLE
  kLookupGetattr,  // COMPOUND{LOOKUP, GETATTR}
  kOpen,           // COMPOUND{OPEN or OPENDIR, GETATTR}
  kCreate,         // COMPOUND{MKOBJ_HANDLE, STATX, OPEN}
};

struct Exchange {
  abi::InHeader header;
  // As the kernel sent it; of a WRITE only the beginning.
  Buffer request;
  Form form = Form::kPlain;
  Plan plan;
  // The reply that the kernel gets when what it names was looked up.
  Buffer held;
  // A lookup that makes an inode; else the kernel compares with one it has.
  bool is_first = true;
  // It was sent with a fault.
  bool is_faulty = false;
  // It was sent with a fault before, and is no more.
  bool was_faulty = false;

  proto::Opcode op() const { return static_cast<proto::Opcode>(header.opcode); }
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_EXCHANGE_H_
