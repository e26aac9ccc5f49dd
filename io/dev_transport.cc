#include "io/dev_transport.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "io/thread_defaults.h"
#include "proto/flags.h"

namespace handlefs::io {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(10);
// Ticks without any request until the watchdog sleeps for longer.
constexpr int kIdleTicks = 100;
constexpr absl::Duration kIdleTick = absl::Milliseconds(250);
// Ticks in a row in which every reader was found at work: half a second.
constexpr int kBusyTicks = 50;
// Ticks in a row without need until an extra reader is parked.
constexpr int kCalmTicks = 100;

constexpr unsigned kFuseMajor = 10;
constexpr unsigned kFuseMinor = 229;

}  // namespace

absl::StatusOr<DeviceKind> KindOf(BorrowedFd device) {
  struct stat st;
  if (fstat(device.get(), &st) != 0) {
    return absl::InvalidArgumentError("the descriptor is not open");
  }
  if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(kFuseMajor, kFuseMinor)) {
    return DeviceKind::kFuse;
  }
  if (!S_ISSOCK(st.st_mode)) {
    return absl::InvalidArgumentError(
        "the descriptor is neither /dev/fuse nor a SOCK_SEQPACKET socket");
  }
  int type = 0;
  socklen_t len = sizeof(type);
  getsockopt(device.get(), SOL_SOCKET, SO_TYPE, &type, &len);
  if (type != SOCK_SEQPACKET) {
    return absl::InvalidArgumentError("the socket is not a SOCK_SEQPACKET");
  }
  return DeviceKind::kSocket;
}

absl::StatusOr<std::unique_ptr<DevTransport>> DevTransport::Create(
    UniqueFd device, const Config& config) {
  auto kind = KindOf(device);
  if (!kind.ok()) return kind.status();
  if (*kind == DeviceKind::kSocket) {
    // The largest reply must fit the send buffer (whose size is doubled by the
    // kernel); without privilege wmem_max bounds it, and larger replies fail.
    int want = static_cast<int>(config.max_write + 8192);
    if (setsockopt(device.get(), SOL_SOCKET, SO_SNDBUFFORCE, &want,
                   sizeof(want)) != 0) {
      (void)setsockopt(device.get(), SOL_SOCKET, SO_SNDBUF, &want,
                       sizeof(want));
    }
  }
  return std::unique_ptr<DevTransport>(
      new DevTransport(std::move(device), *kind, config));
}

DevTransport::DevTransport(UniqueFd device, DeviceKind kind,
                           const Config& config)
    : device_(std::move(device)),
      kind_(kind),
      config_(config),
      pool_(config.max_write, config.vault == nullptr
                                  ? SlotPool::Pages::kAsTouched
                                  : SlotPool::Pages::kBeforeRead) {}

DevTransport::~DevTransport() = default;

Reader::Setup DevTransport::MakeSetup(BorrowedFd device,
                                      PacketHandler& handler) {
  return {.device = device,
          .kind = kind_,
          .pool = &pool_,
          .handler = &handler,
          .setxattr_size = &setxattr_size_,
          .scheduling = config_.scheduling,
          .gather_ms = &gather_ms_};
}

bool DevTransport::uses_io_uring() const {
  absl::MutexLock lock(&mutex_);
  return first_ != nullptr && first_->uses_io_uring();
}

UniqueFd DevTransport::Clone() const {
  UniqueFd clone(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  uint32_t source = static_cast<uint32_t>(device_.get());
  if (!clone || ioctl(clone.get(), proto::kIocClone, &source) != 0) return {};
  return clone;
}

bool DevTransport::HasRequest() const {
  pollfd in{device_.get(), POLLIN, 0};
  return poll(&in, 1, 0) > 0 && (in.revents & POLLIN) != 0;
}

DevTransport::End DevTransport::Run(PacketHandler& handler) {
  ThreadDefaults::Remember();
  {
    absl::MutexLock lock(&mutex_);
    first_ = std::make_unique<Reader>(MakeSetup(device_, handler));
    if (stopping_) first_->Stop();
  }
  std::thread watchdog([this, &handler] { Watch(handler); });
  handler.OnThreadStart();
  End end{.reason = first_->Serve(), .read_error = first_->read_error()};
  // The connection is over, or Stop() was called: the others see the same.
  Stop();
  watchdog.join();
  // The readers stay: requests that wait elsewhere are answered through them.
  absl::MutexLock lock(&mutex_);
  for (Extra& extra : extras_) extra.thread.join();
  return end;
}

void DevTransport::Stop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
  if (first_) first_->Stop();
  for (Extra& extra : extras_) extra.reader->Stop();
}

void DevTransport::Grow(PacketHandler& handler) {
  for (Extra& extra : extras_) {
    if (extra.reader->parked()) {
      extra.reader->Unpark();
      return;
    }
  }
  if (extras_.size() + 1 >= config_.max_readers) return;
  Extra extra;
  // Sharing the one descriptor is what is left where a clone cannot be had: the
  // answers go back by the same descriptor either way.
  if (kind_ == DeviceKind::kFuse) extra.clone = Clone();
  if (extra.clone && config_.vault != nullptr) {
    (void)config_.vault->Put(Vault::Kind::kClone, {}, extra.clone);
  }
  BorrowedFd device = extra.clone ? BorrowedFd(extra.clone.get()) : device_;
  Reader::Setup setup = MakeSetup(device, handler);
  setup.scheduling = Scheduling::kNormal;
  extra.reader = std::make_unique<Reader>(setup);
  extra.thread = std::thread([reader = extra.reader.get(), &handler] {
    handler.OnThreadStart();
    reader->Serve();
  });
  extras_.push_back(std::move(extra));
}

void DevTransport::Watch(PacketHandler& handler) {
  handler.OnThreadStart();
  const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
  std::vector<uint64_t> last;
  int idle = 0, busy = 0, calm = 0;
  PaceMeter pace;
  Yielder& yielder = first_->yielder();
  absl::MutexLock lock(&mutex_);
  while (!stopping_) {
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_),
                            idle > kIdleTicks ? kIdleTick : kTick);
    if (stopping_) break;
    // Readers at work on the same request as at the last tick, and readers
    // found at work at all.
    size_t active = 0, stuck = 0, working = 0;
    bool moved = false;
    last.resize(extras_.size() + 1);
    auto look = [&](Reader& reader, uint64_t& before) {
      uint64_t now = reader.pulse();
      moved |= now != before;
      if (!reader.parked()) {
        ++active;
        working += now & 1;
        // One that yields may only have waited for its CPU.
        stuck += (now & 1) != 0 && now == before && !reader.yielder().yields();
      }
      return (now - std::exchange(before, now)) / 2;
    };
    const uint64_t requests = look(*first_, last[0]);
    for (size_t i = 0; i < extras_.size(); ++i) {
      look(*extras_[i].reader, last[i + 1]);
    }
    yielder.Tick(active == 1 ? pace.Tick(requests) : Pace::kSlow, requests);
    // A reader that waits while there is something to read has been forgotten.
    if (moved || (working < active && !HasRequest())) {
      last_progress_.store(std::chrono::steady_clock::now());
    }
    idle = moved || working > 0 ? 0 : idle + 1;
    busy = working == active ? busy + 1 : 0;
    calm = working * 2 < active ? calm + 1 : 0;
    if (stuck == active) {
      Grow(handler);
      calm = 0;
    } else if (busy >= kBusyTicks && active < cpus / 2) {
      Grow(handler);
      busy = 0;
    } else if (calm >= kCalmTicks) {
      for (auto it = extras_.rbegin(); it != extras_.rend(); ++it) {
        if (it->reader->parked()) continue;
        it->reader->Park();
        break;
      }
      calm = 0;
    }
    if (tick_ && tick_() == Activity::kBusy) idle = 0;
  }
  yielder.Stop();
}

Status DevTransport::Notify(const proto::Notification& head,
                            proto::Bytes data) {
  auto bytes = head.bytes();
  iovec iov[2] = {
      {const_cast<std::byte*>(bytes.data()), bytes.size()},
      {const_cast<std::byte*>(data.data()), data.size()},
  };
  if (writev(device_.get(), iov, data.empty() ? 1 : 2) < 0) return LastErrno();
  return Ok();
}

Result<BackingId> DevTransport::OpenBacking(BorrowedFd fd) {
  if (kind_ != DeviceKind::kFuse) return Errno(EOPNOTSUPP);
  abi::BackingMap map{.fd = fd.get(), .flags = 0, .padding = 0};
  int id = ioctl(device_.get(), proto::kIocBackingOpen, &map);
  if (id < 0) return LastErrno();
  return BackingId{id};
}

Status DevTransport::CloseBacking(BackingId id) {
  uint32_t raw = static_cast<uint32_t>(Raw(id));
  return Check(ioctl(device_.get(), proto::kIocBackingClose, &raw));
}

}  // namespace handlefs::io
