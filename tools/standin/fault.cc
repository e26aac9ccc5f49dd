#include "fault.h"

namespace handlefs::standin {
namespace {

constexpr FaultRow kFaults[] = {
    {Fault::kNone, "none", "as it should be"},
    {Fault::kNoExt, "no-ext", "lookups never carry their directory's handle"},
    {Fault::kExtZero, "ext-zero", "they always carry an empty one"},
    {Fault::kAlwaysRevalidate, "always-revalidate",
     "every lookup is a revalidation"},
    {Fault::kHeapHandle, "heap-handle",
     "now and then a handle of more than 128 bytes, as a kernel that does not "
     "check the size sends its own memory back"},
    {Fault::kShortHandle, "short-handle",
     "now and then a handle without its last byte"},
    {Fault::kMkobjFlags, "mkobj-flags",
     "the OPEN behind MKOBJ_HANDLE has any flags"},
    {Fault::kDropUndone, "drop-undone",
     "now and then the last op of a compound fails, and what the first one "
     "gave is not given back"},
};

}  // namespace

std::span<const FaultRow> Faults() { return kFaults; }

const FaultRow* FindFault(std::string_view name) {
  for (const FaultRow& row : kFaults) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace handlefs::standin
