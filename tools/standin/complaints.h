// What the server did wrong: one line on stderr each, and counted. After many
// lines only the count goes on.
#ifndef HANDLEFS_TOOLS_STANDIN_COMPLAINTS_H_
#define HANDLEFS_TOOLS_STANDIN_COMPLAINTS_H_

#include <cstdint>
#include <cstdio>
#include <string>

namespace handlefs::standin {

inline void Say(const std::string& text) {
  std::fprintf(stderr, "handlefs-standin: %s\n", text.c_str());
}

class Complaints {
 public:
  void Add(const std::string& text) {
    if (++count_ <= kShown) Say("violation: " + text);
    if (count_ == kShown) Say("more violations are only counted");
  }
  uint64_t count() const { return count_; }

 private:
  static constexpr uint64_t kShown = 100;
  uint64_t count_ = 0;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_COMPLAINTS_H_
