#include "daemon/restart/failpoint.h"

#ifdef HANDLEFS_FAILPOINTS

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string>

namespace handlefs {
namespace {

struct Wanted {
  std::string place;
  uint64_t every = 0;
  bool first_server = false;
};

Wanted Read() {
  Wanted wanted;
  const char* text = std::getenv("HANDLEFS_FAILPOINT");
  std::istringstream words(text == nullptr ? "" : text);
  std::string only;
  words >> wanted.place >> wanted.every >> only;
  wanted.first_server = only == "first";
  return wanted;
}

std::atomic<uint64_t> passed{0};

}  // namespace

void PassFailpoint(std::string_view place, uint64_t generation) {
  static const Wanted wanted = Read();
  if (wanted.every == 0 || place != wanted.place) return;
  if (wanted.first_server && generation > 1) return;
  if ((passed.fetch_add(1) + 1) % wanted.every == 0) kill(getpid(), SIGKILL);
}

}  // namespace handlefs

#endif
