#include "daemon/negotiate.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

using proto::InitFlags;
namespace init = proto::init;

constexpr uint32_t kPage = 4096;
// Without MAX_PAGES a request has 32 pages.
constexpr uint32_t kOldMaxWrite = 32 * kPage;

InitFlags Wanted(const Options& options, const HostFacts& facts) {
  InitFlags want;
  for (init::Bit bit : {
           init::kAsyncRead,
           init::kAtomicOTrunc,
           init::kBigWrites,
           // The umask is for the host to apply, or not if there is a default
           // ACL; the two go together.
           init::kDontMask,
           init::kPosixAcl,
           init::kHasIoctlDir,
           init::kDoReaddirplus,
           init::kReaddirplusAuto,
           init::kAsyncDio,
           init::kParallelDirops,
           // Saves a GETXATTR before every write; the flags that come with it
           // are obeyed (credentials.h, SetIdScope).
           init::kHandleKillprivV2,
           init::kSetxattrExt,
           init::kAbortError,
           init::kMaxPages,
           init::kInitExt,
           init::kSecurityCtx,
           init::kCreateSuppGroup,
           init::kHasResend,
       }) {
    want.Add(bit);
  }
  if (options.locks == Locks::kHost) {
    want.Add(init::kPosixLocks).Add(init::kFlockLocks);
  }
  if (options.cache != Cache::kAlways) want.Add(init::kAutoInvalData);
  // Directories that are read once and believed for ever need no open ones,
  // where a position means the same to every descriptor.
  if (options.cache == Cache::kAlways && facts.dir_positions_last) {
    want.Add(init::kNoOpendirSupport);
  }
  // A link's target never changes as long as its inode lives, but readlink(2)
  // moves its atime.
  if (options.cache != Cache::kNone) want.Add(init::kCacheSymlinks);
  // Handles of the mount are the only way to hand a forged nodeid in.
  want.Add(options.exported == Switch::kOn ? init::kExportSupport
                                           : init::kNoExportSupport);
  if (options.passthrough != Passthrough::kOff && facts.can_register_backing) {
    want.Add(init::kPassthrough);
  }
  // Requests of a ring whose server dies are taken in while it dies, which is
  // the kernel's habit and no promise.
  if (options.transport != Transport::kDev &&
      options.restart != Restart::kLossless && facts.is_device) {
    want.Add(init::kOverIoUring);
  }
  return want;
}

}  // namespace

InitAnswer Negotiate(const abi::InitIn& in, const Options& options,
                     const HostFacts& facts) {
  if (in.major > proto::kMajor) {
    TryAgain again;
    again.out.major = proto::kMajor;
    again.out.minor = proto::kMinor;
    return again;
  }
  if (in.major < proto::kMajor || in.minor < proto::kOldestMinor) {
    return Refused{
        .error = EPROTO,
        .why = absl::StrCat("the kernel speaks FUSE protocol ", in.major, ".",
                            in.minor, "; handlefs needs at least 7.",
                            proto::kOldestMinor, " (Linux 5.16)")};
  }
  InitFlags offered = InitFlags::FromWire(in.flags, in.flags2);
  InitFlags want = Wanted(options, facts);
  Negotiated answer;
  answer.dialect = options.dialect;
  if (answer.dialect == nullptr) {
    proto::Fingerprint fingerprint = proto::RecognizeInit(in);
    answer.dialect = fingerprint.dialect;
    answer.evidence = std::move(fingerprint.evidence);
  }
  if (answer.dialect->answers_handle_bit) {
    if (proto::HasBufpoolBit(in)) {
      return Refused{
          .error = EPROTO,
          .why = absl::StrCat(
              "dialect=", std::string(answer.dialect->name),
              ": this kernel means io_uring buffer pools by INIT bit 43 and "
              "has no LOOKUP_HANDLE; use dialect=mainline")};
    }
    // It opens directories in compounds, and asks again each time.
    want.Remove(init::kNoOpendirSupport);
    // Its entries have no handle; the kernel warns and spoils open inodes.
    want.Remove(init::kDoReaddirplus).Remove(init::kReaddirplusAuto);
    // Never offered by the kernels that know it.
    answer.flags.Add(init::kBit43).Add(init::kInitExt);
  }
  for (int bit = 0; bit < 64; ++bit) {
    auto b = static_cast<init::Bit>(bit);
    if (offered.Has(b) && want.Has(b)) answer.flags.Add(b);
  }
  if (options.passthrough == Passthrough::kOn &&
      !answer.flags.Has(init::kPassthrough)) {
    return Refused{.error = EPROTO,
                   .why = facts.can_register_backing
                              ? "passthrough=on: this kernel does not offer "
                                "FUSE passthrough (Linux 6.9, "
                                "CONFIG_FUSE_PASSTHROUGH); use "
                                "passthrough=auto"
                              : "passthrough=on needs CAP_SYS_ADMIN and a "
                                "/dev/fuse device; use passthrough=auto"};
  }
  if (options.transport == Transport::kUring &&
      !answer.flags.Has(init::kOverIoUring)) {
    return Refused{
        .error = EPROTO,
        .why = facts.is_device
                   ? "transport=uring: this kernel does not offer FUSE over "
                     "io_uring (Linux 6.14, CONFIG_FUSE_IO_URING, parameter "
                     "enable_uring of the module fuse); use enable_uring=on, "
                     "or transport=auto"
                   : "transport=uring needs a /dev/fuse device; use "
                     "transport=auto"};
  }
  abi::InitOut& out = answer.out;
  out.major = proto::kMajor;
  out.minor = std::min(in.minor, proto::kMinor);
  out.max_readahead = in.max_readahead;
  // The default of 12 starves readahead and asynchronous releases.
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.max_write = options.max_write / kPage * kPage;
  if (answer.flags.Has(init::kMaxPages)) {
    out.max_pages = static_cast<uint16_t>(out.max_write / kPage);
  } else {
    out.max_write = std::min(out.max_write, kOldMaxWrite);
  }
  out.time_gran = 1;
  if (answer.flags.Has(init::kPassthrough)) {
    out.max_stack_depth = facts.source_is_stacked ? 2 : 1;
  }
  out.flags = answer.flags.low();
  out.flags2 = answer.flags.high();
  return answer;
}

}  // namespace handlefs
