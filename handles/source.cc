#include "handles/source.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace handlefs {

absl::StatusOr<Source> OpenSource(const std::string& path,
                                  Submounts submounts) {
  Source source;
  char* real = realpath(path.c_str(), nullptr);
  if (real == nullptr) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot find the source ", path));
  }
  source.path = real;
  free(real);
  struct stat st;
  if (stat(source.path.c_str(), &st) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot look at the source ", source.path));
  }
  if (!S_ISDIR(st.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the source ", source.path,
        " is not a directory: give the directory whose tree is to be served"));
  }
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (submounts == Submounts::kCross) flags |= AT_RECURSIVE;
  source.root = UniqueFd(open_tree(AT_FDCWD, source.path.c_str(), flags));
  if (source.root) {
    // No longer a peer of the original: what is mounted there from now on does
    // not come here.
    mount_attr attr{};
    attr.propagation = MS_PRIVATE;
    (void)mount_setattr(source.root.get(), "", AT_EMPTY_PATH | AT_RECURSIVE,
                        &attr, sizeof(attr));
    source.is_private = true;
  } else {
    source.root =
        UniqueFd(open(source.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  if (source.root) {
    source.dir = UniqueFd(
        openat(source.root.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  if (!source.dir) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot open the source ", source.path));
  }
  return source;
}

}  // namespace handlefs
