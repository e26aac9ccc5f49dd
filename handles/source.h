// The tree that is served, opened once. As root it is a private clone of the
// source mount (what `mount --bind` makes, but attached nowhere): mounts made
// on top of the source later are not seen, so the mount point may lie inside
// the source or be the source itself.
#ifndef HANDLEFS_HANDLES_SOURCE_H_
#define HANDLEFS_HANDLES_SOURCE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "io/base/fd.h"

namespace handlefs {

enum class Submounts {
  kHide,   // what lies under a mount point shows, like in a bind mount
  kCross,  // mounts below the source show, like in a recursive bind mount
};

struct Source {
  std::string path;  // as given, made absolute
  UniqueFd root;     // O_PATH
  UniqueFd dir;      // O_RDONLY, the mount descriptor for open_by_handle_at
  // False where the clone was refused: mounts on top of the source show
  // through, and a mount point inside it would be served to itself.
  bool is_private = false;
};

// NOT_FOUND, FAILED_PRECONDITION (not a directory), PERMISSION_DENIED: the
// message names the step and the path.
absl::StatusOr<Source> OpenSource(const std::string& path, Submounts submounts);

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_SOURCE_H_
