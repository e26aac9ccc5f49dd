// The directory that a run works in: one of its own, made below the source that
// was named or on a new tmpfs, and removed at the end. Nothing outside of it is
// ever touched.
//
//   source/   what is served; source/cell is made anew for each measurement
//   mount/    where
//   side/     for servers that need more (lower, work)
//   log       what the server says
//
// All mounts are made in a mount namespace of this process alone, so none of
// them can outlive the run, however it ends.
#ifndef HANDLEFS_TOOLS_BENCH_SCRATCH_H_
#define HANDLEFS_TOOLS_BENCH_SCRATCH_H_

#include <optional>
#include <string>

namespace handlefs::bench {

class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Below `source`, or on a tmpfs if that is empty. Or what is wrong and the
  // cure.
  std::optional<std::string> Make(const std::string& source);

  std::string top() const { return top_; }
  std::string source() const { return top_ + "/source"; }
  std::string mount() const { return top_ + "/mount"; }
  std::string side() const { return top_ + "/side"; }
  std::string log() const { return top_ + "/log"; }

  // source/cell, side/lower and side/work, empty. EBUSY and such as text.
  std::optional<std::string> Renew() const;

 private:
  std::string top_;
  std::string base_;  // the directory that the tmpfs is mounted on
};

// Removes a directory and what is in it, never what is mounted there. False if
// something is left.
bool RemoveTree(const std::string& path);

// A private mount namespace. Or what is wrong.
std::optional<std::string> EnterNamespace();

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_SCRATCH_H_
