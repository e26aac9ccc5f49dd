// Bugs of kernels, imitated on demand. By default the messages are those of a
// kernel without the bugs that a server could not serve at all.
//
// What a server must refuse is sent at random, and after the refusal the same
// request follows without the bug: programs on the mount see nothing of it.
#ifndef HANDLEFS_TOOLS_STANDIN_FAULT_H_
#define HANDLEFS_TOOLS_STANDIN_FAULT_H_

#include <cstdint>
#include <random>
#include <span>
#include <string_view>

namespace handlefs::standin {

enum class Fault : uint8_t {
  kNone,
  kNoExt,             // a lookup never has its directory's handle
  kExtZero,           // a lookup's handle is always empty
  kAlwaysRevalidate,  // every lookup is a revalidation
  kHeapHandle,        // a handle of more than 128 bytes comes back
  kShortHandle,       // the last byte of a handle is missing
  kMkobjFlags,        // the OPEN behind MKOBJ_HANDLE has any flags
  kDropUndone,        // a later sub fails, and nothing is given back
};

struct FaultRow {
  Fault fault;
  std::string_view name;
  std::string_view about;
};
std::span<const FaultRow> Faults();
const FaultRow* FindFault(std::string_view name);

// Decides what today's wire does not tell. The same seed decides alike for the
// same requests.
class Coin {
 public:
  explicit Coin(uint64_t seed) : random_(seed) {}
  bool Toss() { return OneIn(2); }
  bool OneIn(uint64_t n) { return Number() % n == 0; }
  uint64_t Number() { return random_(); }

 private:
  std::mt19937_64 random_;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_FAULT_H_
