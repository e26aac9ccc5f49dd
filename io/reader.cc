#include "io/reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proto/opcode.h"

namespace handlefs::io {
namespace {

enum Tag : uint64_t { kReadTag = 1, kWriteTag, kWakeTag, kCancelTag };
constexpr unsigned kRingEntries = 8;
// So many in a row that nobody waits for, and no other is expected.
constexpr int kUnhurried = 16;

bool IsUnhurried(uint32_t opcode) {
  return opcode == static_cast<uint32_t>(proto::Opcode::kForget) ||
         opcode == static_cast<uint32_t>(proto::Opcode::kBatchForget) ||
         opcode == static_cast<uint32_t>(proto::Opcode::kInterrupt);
}

}  // namespace

Reader::Reader(const Setup& setup)
    : setup_(setup),
      port_(setup.device),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Reader::~Reader() {
  if (ring_) io_uring_queue_exit(&ring_->ring);
}

void Reader::OpenRing() {
  ring_ = Ring{};
  // One thread submits and reaps: the kernel need not interrupt it for task
  // work. Before 6.1 the flags are not known.
  for (unsigned flags :
       {unsigned{IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN},
        0u}) {
    if (io_uring_queue_init(kRingEntries, &ring_->ring, flags) != 0) continue;
    // Linux 5.17.
    if ((ring_->ring.features & IORING_FEAT_CQE_SKIP) != 0) {
      uses_io_uring_.store(true);
      return;
    }
    io_uring_queue_exit(&ring_->ring);
  }
  ring_.reset();
}

StopReason Reader::Serve() {
  // The ring belongs to the thread that serves.
  OpenRing();
  if (setup_.scheduling == Scheduling::kAuto) {
    yielder_.Attach();
    follower_.Attach();
  }
  if (setup_.kind == DeviceKind::kFuse) {
    // All clones are woken for a request that one of them gets. The others must
    // not wait in the read, where no order reaches them; a ring does so, too:
    // it waits for input by itself and then reads like anybody else (6.18).
    const int fd = setup_.device.get();
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  slot_ = setup_.pool->Take();
  StopReason reason = ring_ ? ServeRing() : ServePlain();
  if (slot_ != nullptr) setup_.pool->Return(std::exchange(slot_, nullptr));
  return reason;
}

void Reader::Stop() {
  want_stop_.store(true);
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
  absl::MutexLock lock(&mutex_);  // wakes a parked reader
}

void Reader::Park() {
  want_parked_.store(true);
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

void Reader::Unpark() {
  absl::MutexLock lock(&mutex_);
  want_parked_.store(false);
}

void Reader::DrainWake() {
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof(count));
}

void Reader::FlushReply() {
  if (reply_ == nullptr) return;
  port_.Write(reply_->reply());
  slot_ = std::exchange(reply_, nullptr);
}

Reader::Turn Reader::ObeyOrders() {
  if (!want_stop_.load()) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](Reader* self) {
          return self->want_stop_.load() || !self->want_parked_.load();
        },
        this));
  }
  DrainWake();
  if (!want_stop_.load()) return Turn::kContinue;
  reason_ = StopReason::kStopped;
  return Turn::kEnd;
}

io_uring_sqe* Reader::Sqe(Ring& ring) {
  // At most a write, a read, a poll and a cancel are ever queued: it fits.
  return io_uring_get_sqe(&ring.ring);
}

void Reader::ArmRing(Ring& ring) {
  const int fd = setup_.device.get();
  if (reply_ != nullptr) {
    auto bytes = reply_->reply();
    io_uring_sqe* sqe = Sqe(ring);
    io_uring_prep_write(sqe, fd, bytes.data(),
                        static_cast<unsigned>(bytes.size()), -1);
    io_uring_sqe_set_data64(sqe, kWriteTag);
    if (setup_.kind == DeviceKind::kFuse) {
      // A write to /dev/fuse is done when the submission returns; only a
      // refused one is worth a completion.
      sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
      slot_ = reply_;
    } else {
      // A socket may take its time: the next request gets another slot.
      ring.writing = reply_;
      slot_ = setup_.pool->Take();
    }
    reply_ = nullptr;
  }
  if (!ring.read_armed && !read_result_) {
    auto space = slot_->request();
    io_uring_sqe* sqe = Sqe(ring);
    if (setup_.kind == DeviceKind::kFuse) {
      io_uring_prep_read(sqe, fd, space.data(),
                         static_cast<unsigned>(space.size()), -1);
    } else {
      io_uring_prep_recv(sqe, fd, space.data(), space.size(), MSG_TRUNC);
    }
    io_uring_sqe_set_data64(sqe, kReadTag);
    ring.read_armed = true;
  }
  if (!ring.wake_armed) {
    io_uring_sqe* sqe = Sqe(ring);
    io_uring_prep_poll_add(sqe, wake_.get(), POLLIN);
    io_uring_sqe_set_data64(sqe, kWakeTag);
    ring.wake_armed = true;
  }
}

void Reader::CancelRead(Ring& ring) {
  ring.cancelling = false;
  while (ring.read_armed) {
    if (!ring.cancelling) {
      io_uring_sqe* sqe = Sqe(ring);
      io_uring_prep_cancel64(sqe, kReadTag, 0);
      io_uring_sqe_set_data64(sqe, kCancelTag);
      ring.cancelling = true;
    }
    int rc = io_uring_submit_and_wait(&ring.ring, 1);
    if (rc < 0 && rc != -EINTR) return;
    Reap(ring);
  }
}

void Reader::Reap(Ring& ring) {
  io_uring_cqe* cqe;
  while (io_uring_peek_cqe(&ring.ring, &cqe) == 0) {
    uint64_t tag = io_uring_cqe_get_data64(cqe);
    int result = cqe->res;
    io_uring_cqe_seen(&ring.ring, cqe);
    if (tag == kReadTag) {
      ring.read_armed = false;
      if (result != -ECANCELED) read_result_ = result;
    } else if (tag == kWakeTag) {
      // Emptied here and not with the order alone: an order that was taken back
      // before it was seen would wake this thread for ever.
      DrainWake();
      ring.wake_armed = false;
    } else if (tag == kWriteTag) {
      if (result < 0) DevPort::CountRefused(-result);
      if (ring.writing != nullptr) {
        setup_.pool->Return(std::exchange(ring.writing, nullptr));
      }
    } else if (tag == kCancelTag && result == -ENOENT) {
      // If the read is still there, it was just being moved: woken for a
      // request that another reader got. It is found the next time.
      ring.cancelling = false;
    }
  }
}

StopReason Reader::ServeRing() {
  Ring& ring = *ring_;
  while (true) {
    if (HasOrders() && !read_result_) {
      FlushReply();
      CancelRead(ring);
      // A request that came before the cancellation is served first.
      if (!read_result_ && ObeyOrders() == Turn::kEnd) break;
    }
    // While a socket is full its reader must take our reply before the next
    // request is worked on.
    if (!read_result_ || ring.writing != nullptr) {
      ArmRing(ring);
      int rc = io_uring_submit_and_wait(&ring.ring, 1);
      if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) {
        read_error_ = -rc;
        return StopReason::kReadError;
      }
      Reap(ring);
      if (!read_result_ || ring.writing != nullptr) continue;
    }
    int result = *std::exchange(read_result_, std::nullopt);
    if (OnRead(result) == Turn::kEnd) break;
  }
  FlushReply();
  return reason_;
}

StopReason Reader::ServePlain() {
  while (true) {
    FlushReply();
    if (HasOrders() && ObeyOrders() == Turn::kEnd) break;
    pollfd fds[2] = {{setup_.device.get(), POLLIN, 0},
                     {wake_.get(), POLLIN, 0}};
    int ready = poll(fds, 2, -1);
    if (ready < 0 && errno != EINTR) {
      read_error_ = errno;
      return StopReason::kReadError;
    }
    if (ready > 0 && fds[1].revents != 0) DrainWake();
    if (ready <= 0 || fds[0].revents == 0) continue;
    auto space = slot_->request();
    ssize_t n = setup_.kind == DeviceKind::kFuse
                    ? read(setup_.device.get(), space.data(), space.size())
                    : recv(setup_.device.get(), space.data(), space.size(),
                           MSG_TRUNC | MSG_DONTWAIT);
    if (OnRead(n < 0 ? -errno : static_cast<int>(n)) == Turn::kEnd) break;
  }
  FlushReply();
  return reason_;
}

bool Reader::IsOver() const {
  pollfd device{.fd = setup_.device.get(), .events = POLLIN, .revents = 0};
  return poll(&device, 1, 0) > 0 && (device.revents & POLLERR) != 0;
}

// Each FORGET would wake this thread on a CPU where client and server take
// turns: over io_uring a fifth of what a file made and removed costs.
void Reader::LetForgetsGather() {
  const int pause = setup_.gather_ms->load(std::memory_order_relaxed);
  if (pause == 0 || unhurried_ < kUnhurried) return;
  pollfd orders{.fd = wake_.get(), .events = POLLIN, .revents = 0};
  (void)poll(&orders, 1, pause);
}

Reader::Turn Reader::OnRead(int result) {
  if (result > 0) {
    Work(static_cast<size_t>(result));
    LetForgetsGather();
    return Turn::kContinue;
  }
  switch (-result) {
    case EINTR:
    case EAGAIN:
    case ENOENT:  // the request was taken back while it was read
    case ECANCELED:
      return Turn::kContinue;
    case 0:
    case ECONNRESET:
    case EPIPE:
      reason_ = StopReason::kPeerClosed;
      return Turn::kEnd;
    case ENODEV:
      reason_ = StopReason::kUnmounted;
      return Turn::kEnd;
    case ECONNABORTED:
      // Also said to who was just reading a request when a plain unmount took
      // the connection down. What is read after its end tells them apart.
      if (setup_.kind == DeviceKind::kFuse && !saw_end_) {
        saw_end_ = IsOver();
        return Turn::kContinue;
      }
      reason_ = StopReason::kAborted;
      return Turn::kEnd;
    default:
      reason_ = StopReason::kReadError;
      read_error_ = -result;
      return Turn::kEnd;
  }
}

void Reader::Work(size_t size) {
  Slot* slot = slot_;
  slot->Assign(&port_);
  auto space = slot->request();
  bool whole = size <= space.size();
  proto::Bytes message = space.first(whole ? size : space.size());
  auto raw = proto::Split(message, setup_.setxattr_size->load());
  port_.Begin(slot);
  if (!raw.ok()) {
    setup_.handler->OnMalformed(size);
    // Only a socket can do this. The header tells whom to answer, if it is
    // there; a message that was cut gets EIO, one that lies about its length
    // EINVAL.
    proto::Cursor cursor(message);
    auto header = cursor.Take<abi::InHeader>();
    const proto::OpRow* row = header ? proto::FindRow(header->opcode) : nullptr;
    bool wants_reply =
        header && (row == nullptr || row->reply != proto::ReplyKind::kNever);
    if (wants_reply) {
      slot->Finish(proto::MakeErrorHeader(Unique{header->unique},
                                          Errno(whole ? EINVAL : EIO)));
    } else {
      slot->FinishSilently();
    }
  } else {
    unhurried_ = IsUnhurried(raw->header.opcode) ? unhurried_ + 1 : 0;
    if (yielder_.yields()) {
      follower_.OnRequest(raw->header.pid);
    } else {
      follower_.Release();
    }
    pulse_.fetch_add(1, std::memory_order_relaxed);
    setup_.handler->OnPacket(
        Packet{.raw = *raw,
               .token = Token(slot, Unique{raw->header.unique}),
               .origin = (raw->header.unique & kUniqueResend) != 0
                             ? Packet::Origin::kAgain
                             : Packet::Origin::kNew});
    pulse_.fetch_add(1, std::memory_order_relaxed);
  }
  switch (port_.End()) {
    case DevPort::Outcome::kReply:
      reply_ = slot;
      slot_ = nullptr;
      break;
    case DevPort::Outcome::kSilent:
      break;
    case DevPort::Outcome::kAway:
      slot_ = setup_.pool->Take();
      break;
  }
}

}  // namespace handlefs::io
