#include "daemon/uring_parameter.h"

#include <fcntl.h>
#include <unistd.h>

#include "io/base/fd.h"

namespace handlefs {
namespace {
constexpr char kPath[] = "/sys/module/fuse/parameters/enable_uring";
}  // namespace

UringParameter ReadUringParameter() {
  UniqueFd fd(open(kPath, O_RDONLY | O_CLOEXEC));
  char value = 0;
  if (!fd || read(fd.get(), &value, 1) != 1) return UringParameter::kAbsent;
  return value == 'Y' || value == '1' ? UringParameter::kOn
                                      : UringParameter::kOff;
}

Status TurnUringOn() {
  UniqueFd fd(open(kPath, O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), "Y", 1) != 1) return LastErrno();
  return Ok();
}

}  // namespace handlefs
