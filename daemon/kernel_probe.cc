#include "daemon/kernel_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "daemon/uring_parameter.h"
#include "io/base/fd.h"
#include "proto/cursor.h"
#include "proto/dialect.h"
#include "proto/flags.h"

namespace handlefs {
namespace {

std::string Features(const abi::InitIn& in) {
  using proto::init::Bit;
  std::string out =
      absl::StrCat("FUSE protocol ", in.major, ".", in.minor, "\n");
  auto flags = proto::InitFlags::FromWire(in.flags, in.flags2);
  struct Feature {
    Bit bit;
    const char* text;
  };
  for (auto [bit, text] : {
           Feature{proto::init::kPassthrough,
                   "passthrough of reads and writes"},
           Feature{proto::init::kHandleKillprivV2,
                   "writes without asking for capabilities"},
           Feature{proto::init::kHasResend, "resend after a restart"},
           Feature{proto::init::kOverIoUring, "FUSE over io_uring"},
           Feature{proto::init::kCreateSuppGroup,
                   "supplementary group at create"},
           Feature{proto::init::kNoExportSupport, "refusal of file handles"},
       }) {
    absl::StrAppend(&out, "  ", flags.Has(bit) ? "yes  " : "no   ", text, "\n");
  }
  proto::Fingerprint fingerprint = proto::RecognizeInit(in);
  absl::StrAppend(&out, "dialect ", std::string(fingerprint.dialect->name),
                  ": ", fingerprint.evidence, "\n");
  return out;
}

}  // namespace

Result<abi::InitIn> AskKernel() {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device) return LastErrno();
  UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return LastErrno();
  std::string fd = absl::StrCat(device.get());
  for (auto [key, value] :
       {std::pair{"source", "probe"}, std::pair{"fd", fd.c_str()},
        std::pair{"rootmode", "40000"}, std::pair{"user_id", "0"},
        std::pair{"group_id", "0"}}) {
    if (fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0) {
      return LastErrno();
    }
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return LastErrno();
  }
  pollfd wait{device.get(), POLLIN, 0};
  poll(&wait, 1, 1000);
  std::array<std::byte, proto::kMinReadBuffer> buffer;
  ssize_t n = read(device.get(), buffer.data(), buffer.size());
  if (n < 0) return LastErrno();
  auto raw = proto::Split(std::span(buffer).first(static_cast<size_t>(n)), 16);
  if (!raw.ok()) {
    return Errno(EPROTO);
  }
  auto init = proto::Decode<proto::Opcode::kInit>(*raw);
  if (!init.ok()) {
    return Errno(EPROTO);
  }
  return init->in;
}

std::string DescribeKernel() {
  utsname name{};
  uname(&name);
  std::string out =
      absl::StrCat("kernel ", name.sysname, " ", name.release, "\n");
  auto in = AskKernel();
  if (in.ok()) {
    absl::StrAppend(&out, Features(*in));
    if (ReadUringParameter() == UringParameter::kOff) {
      absl::StrAppend(&out, std::string(kUringIsOff), "\n");
    }
  } else if (in.error() == Errno(EPERM)) {
    absl::StrAppend(&out, "what its FUSE offers is told to root alone\n");
  } else {
    absl::StrAppend(&out,
                    "FUSE cannot be asked: ", std::strerror(in.error().value()),
                    "\n");
  }
  return out;
}

}  // namespace handlefs
