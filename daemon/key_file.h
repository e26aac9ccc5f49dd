// The 128-bit key of handles that outlive the server.
#ifndef HANDLEFS_DAEMON_KEY_FILE_H_
#define HANDLEFS_DAEMON_KEY_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "handles/siphash.h"
#include "io/base/fd.h"

namespace handlefs {

HashKey RandomKey();

// Reads the key, or makes it (mode 0600) at first use; servers that do so at
// the same time get the same one. An empty path means
// /var/lib/handlefs/UUID.key by the file system of `source`. Refuses a file
// that others can read, and one that is not 16 bytes long.
absl::StatusOr<HashKey> LoadKey(const std::string& given, BorrowedFd source);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_KEY_FILE_H_
