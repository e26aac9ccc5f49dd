#include "daemon/restart/failpoint.h"

#ifdef HANDLEFS_FAILPOINTS

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <string>

namespace handlefs {
namespace {

struct Wanted {
  std::string place;
  uint64_t every = 0;
  int signal = SIGKILL;
  // Generations.
  uint64_t first = 1;
  uint64_t last = std::numeric_limits<uint64_t>::max();
};

Wanted Read() {
  Wanted wanted;
  const char* text = std::getenv("HANDLEFS_FAILPOINT");
  std::istringstream words(text == nullptr ? "" : text);
  words >> wanted.place >> wanted.every;
  for (std::string word; words >> word;) {
    if (word == "stop") {
      wanted.signal = SIGSTOP;
    } else if (word == "first") {
      wanted.last = 1;
    } else if (word == "later") {
      wanted.first = 2;
    } else {
      wanted.first = wanted.last = std::strtoull(word.c_str(), nullptr, 10);
    }
  }
  return wanted;
}

std::atomic<uint64_t> passed{0};

}  // namespace

void PassFailpoint(std::string_view place, uint64_t generation) {
  static const Wanted wanted = Read();
  if (wanted.every == 0 || place != wanted.place) return;
  if (generation < wanted.first || generation > wanted.last) return;
  if ((passed.fetch_add(1) + 1) % wanted.every == 0) {
    kill(getpid(), wanted.signal);
  }
}

}  // namespace handlefs

#endif
