#include "daemon/key_file.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

constexpr char kDirectory[] = "/var/lib/handlefs";

// FS_IOC_GETFSUUID, Linux 6.9.
struct FsUuid {
  uint8_t size;
  uint8_t bytes[16];
};
constexpr unsigned long kGetFsUuid = 0x80111500;

std::string Hex(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    absl::StrAppend(&out, absl::Hex(bytes[i], absl::kZeroPad2));
  }
  return out;
}

std::string NameOf(BorrowedFd source) {
  FsUuid uuid{};
  if (ioctl(source.get(), kGetFsUuid, &uuid) == 0 && uuid.size == 16) {
    return Hex(uuid.bytes, sizeof(uuid.bytes));
  }
  struct statfs sfs {};
  (void)fstatfs(source.get(), &sfs);
  return absl::StrCat("fsid-", Hex(&sfs.f_fsid, sizeof(sfs.f_fsid)));
}

// The file appears under its name when it is whole, and only if there is none:
// ALREADY_EXISTS otherwise.
absl::StatusOr<HashKey> Make(const std::string& path) {
  const HashKey name = RandomKey();
  const std::string unfinished =
      absl::StrCat(path, ".", Hex(name.data(), sizeof(name)));
  auto failed = [&](absl::string_view what) {
    return absl::ErrnoToStatus(errno, absl::StrCat(what, path));
  };
  UniqueFd fd(open(unfinished.c_str(),
                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failed("cannot make the key ");
  absl::Cleanup remove = [&] { unlink(unfinished.c_str()); };
  HashKey key = RandomKey();
  errno = ENOSPC;  // what a short write means
  if (write(fd.get(), key.data(), sizeof(key)) !=
          static_cast<ssize_t>(sizeof(key)) ||
      fsync(fd.get()) != 0) {
    return failed("cannot write the key ");
  }
  if (link(unfinished.c_str(), path.c_str()) != 0) {
    return failed("cannot make the key ");
  }
  return key;
}

absl::StatusOr<HashKey> Read(const std::string& path) {
  UniqueFd fd(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot open the key ", path));
  }
  if (!S_ISREG(st.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the key ", path, " is no regular file"));
  }
  if (st.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the key ", path, " belongs to user ", st.st_uid,
                     "; chown it to the user of the server"));
  }
  if ((st.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the key ", path, " can be read by others; chmod 600 ", path));
  }
  HashKey key;
  char more;
  if (read(fd.get(), key.data(), sizeof(key)) !=
          static_cast<ssize_t>(sizeof(key)) ||
      read(fd.get(), &more, 1) != 0) {
    return absl::DataLossError(
        absl::StrCat("the key ", path,
                     " is not 16 bytes long; remove it for a new one "
                     "(handles given out so far become invalid)"));
  }
  return key;
}

}  // namespace

HashKey RandomKey() {
  HashKey key;
  size_t done = 0;
  while (done < sizeof(key)) {
    ssize_t n = getrandom(reinterpret_cast<char*>(key.data()) + done,
                          sizeof(key) - done, 0);
    if (n > 0) done += static_cast<size_t>(n);
  }
  return key;
}

absl::StatusOr<HashKey> LoadKey(const std::string& given, BorrowedFd source) {
  std::string path = given;
  if (path.empty()) {
    (void)mkdir(kDirectory, 0700);
    path = absl::StrCat(kDirectory, "/", NameOf(source), ".key");
  }
  auto key = Read(path);
  if (!absl::IsNotFound(key.status())) return key;
  key = Make(path);
  // Another server was faster: its key is the one.
  if (absl::IsAlreadyExists(key.status())) key = Read(path);
  return key;
}

}  // namespace handlefs
