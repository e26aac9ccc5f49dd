#include "io/uring_lane.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "io/dev_port.h"
#include "proto/flags.h"

namespace handlefs::io {
namespace {

// Tags of completions that are not an entry's.
constexpr uint64_t kWakeTag = 1;
constexpr uint64_t kTetherTag = 2;
constexpr unsigned kRingEntries = 64;
// Of one queue: more requests than these never wait elsewhere at once.
constexpr size_t kMaxEntries = 1024;
// Marks the NOTIFY_REPLYs that are asked for here; the kernel counts its
// requests from 2 in steps of 2.
constexpr uint64_t kNudge = uint64_t{1} << 62;
// A commit finds its request by the number alone, and two lanes can ask for one
// queue, or a server and its successor: numbers begin with the clock, which is
// always ahead of who counts. Bit 0 is the kernel's own.
Unique NextNudge() {
  // Not before it is needed: servers are forked from one process.
  static std::atomic<uint64_t> next{
      static_cast<uint64_t>(absl::GetCurrentTimeNanos()) & ~uint64_t{1}};
  return Unique{kNudge | (next.fetch_add(2) & (kNudge - 1))};
}
constexpr absl::Duration kRetry = absl::Microseconds(200);
// While the lane hands over: another look whether requests have come.
constexpr int64_t kFillAgainNs = 1'000'000;
constexpr absl::Duration kAskAgain = absl::Milliseconds(100);
constexpr absl::Duration kReopenPause = absl::Milliseconds(10);
// Where the command stands in a 128-byte SQE.
constexpr size_t kCommandOffset = 48;

thread_local UringLane* this_lane = nullptr;

bool Pin(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(cpu), &cpus);
  return pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus) == 0;
}

// On a CPU for a moment, if it can be had: one that was offline may have come.
class Visit {
 public:
  explicit Visit(int cpu)
      : there_(pthread_getaffinity_np(pthread_self(), sizeof(home_), &home_) ==
                   0 &&
               Pin(cpu)) {}
  ~Visit() {
    if (there_) pthread_setaffinity_np(pthread_self(), sizeof(home_), &home_);
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  bool there() const { return there_; }

 private:
  cpu_set_t home_;
  const bool there_;
};

// Whether the request is surely about a regular file.
bool IsOnFile(uint32_t opcode) {
  switch (static_cast<proto::Opcode>(opcode)) {
    case proto::Opcode::kOpen:
    case proto::Opcode::kRead:
    case proto::Opcode::kWrite:
    case proto::Opcode::kFlush:
    case proto::Opcode::kRelease:
      return true;
    default:
      return false;
  }
}

bool IsOver(int error) { return error == ENOTCONN || error == ECONNABORTED; }

}  // namespace

UringLane::UringLane(Setup setup)
    : setup_(std::move(setup)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (uint16_t id : setup_.queues) queues_.push_back({.id = id});
  thread_ = std::thread([this] { Main(); });
}

void UringLane::Wake() {
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
  { absl::MutexLock lock(&mutex_); }  // wakes a lane that was never begun
}

void UringLane::Stop() {
  if (!thread_.joinable()) return;
  order_.store(Order::kStop);
  Wake();
  thread_.join();
}

void UringLane::HandOver() {
  Order serving = Order::kServe;
  if (!order_.compare_exchange_strong(serving, Order::kHandOver)) Stop();
  Wake();
}

bool UringLane::WaitUntilHandedOver(absl::Time until) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(&left_), until);
}

absl::Status UringLane::WaitUntilMade() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&made_));
  return status_;
}

void UringLane::Begin() {
  absl::MutexLock lock(&mutex_);
  order_.store(Order::kServe);
}

void UringLane::WaitUntilRegistered() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&registered_));
}

void UringLane::Main() {
  this_lane = this;
  // First, so that what is allocated lies near the CPU. A CPU that may not be
  // used (a cpuset) is served from where this thread may run.
  pinned_ = setup_.cpu && Pin(*setup_.cpu);
  if (pinned_ && setup_.scheduling == Scheduling::kAuto) yielder_.Attach();
  absl::Status status = Make();
  {
    absl::MutexLock lock(&mutex_);
    status_ = status;
    made_ = true;
    mutex_.Await(absl::Condition(
        +[](UringLane* self) { return self->order_.load() != Order::kWait; },
        this));
  }
  if (status.ok() && order_.load() != Order::kStop) {
    setup_.handler->OnThreadStart();
    Serve();
    if (order_.load() == Order::kHandOver) LeaveToSuccessor();
  }
  {
    absl::MutexLock lock(&mutex_);
    registered_ = left_ = true;
  }
  // Cancels what the kernel holds; nobody waits for it any more.
  if (has_ring_) io_uring_queue_exit(&ring_);
  if (has_tether_) io_uring_queue_exit(&tether_);
}

absl::Status UringLane::OpenRing() {
  int rc =
      io_uring_queue_init(kRingEntries, &ring_,
                          IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER |
                              IORING_SETUP_DEFER_TASKRUN);
  if (rc < 0) {
    return absl::UnavailableError(
        absl::StrCat("io_uring_setup: ", std::strerror(-rc),
                     rc == -ENOMEM ? "; raise the limit of locked memory "
                                     "(ulimit -l)"
                                   : ""));
  }
  has_ring_ = true;
  return absl::OkStatus();
}

absl::Status UringLane::Make() {
  if (!wake_) return absl::UnavailableError("no descriptor is left");
  absl::Status status = OpenRing();
  if (!status.ok()) return status;
  for (UringQueue& queue : queues_) {
    // Those that are inherited come back when what is in them is answered.
    auto inherited = static_cast<size_t>(std::ranges::count_if(
        setup_.inherited, [&](auto* slot) { return slot->queue == queue.id; }));
    for (size_t i = inherited; i < setup_.depth; ++i) Add(queue);
    queue.was_dry = setup_.is_relief;
  }
  return absl::OkStatus();
}

io_uring_sqe* UringLane::Sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void UringLane::Prepare(UringEntry* entry, uint32_t command,
                        uint64_t commit_id) {
  io_uring_sqe* sqe = Sqe();
  std::memset(sqe, 0, 2 * sizeof(*sqe));
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = setup_.device.get();
  sqe->cmd_op = command;
  if (command == proto::kUringRegister) {
    sqe->addr = reinterpret_cast<uint64_t>(entry->buffers().data());
    sqe->len = static_cast<uint32_t>(entry->buffers().size());
  }
  abi::UringCmdReq request{};
  request.commit_id = commit_id;
  request.qid = entry->queue().id;
  std::memcpy(reinterpret_cast<std::byte*>(sqe) + kCommandOffset, &request,
              sizeof(request));
  io_uring_sqe_set_data(sqe, entry);
  entry->place = UringEntry::Place::kKernel;
  ++entry->queue().in_kernel;
}

void UringLane::Register(UringEntry* entry) {
  Prepare(entry, proto::kUringRegister, 0);
}

void UringLane::Commit(UringEntry* entry) {
  if (entry->place != UringEntry::Place::kServer) return;
  if (leaving_ && entry->outlives_server()) return;
  entry->PutReply();
  entry->registered = true;
  committing_.push_back({entry, entry->commit_id()});
  Prepare(entry, proto::kUringCommitAndFetch, entry->commit_id());
}

void UringLane::ArmWake() {
  io_uring_sqe* sqe = Sqe();
  std::memset(sqe, 0, 2 * sizeof(*sqe));
  io_uring_prep_poll_add(sqe, wake_.get(), POLLIN);
  io_uring_sqe_set_data64(sqe, kWakeTag);
}

// A thread that is killed leaves what is on its way to its ring as it is, and
// the kernel ends those requests with ECANCELED when the ring goes. But as long
// as it has something on the way that is about another ring, it first takes in
// what has come, and then calls its entries back (io_uring_files_cancel, Linux
// 6.14 to 6.18, before the thread counts as ending): requests reach the
// buffers, where the successor finds them, or wait in the kernel.
void UringLane::ArmTether() {
  if (setup_.memory == nullptr) return;
  if (!has_tether_) {
    int rc = io_uring_queue_init(1, &tether_, 0);
    has_tether_ = rc == 0;
    if (!has_tether_) {
      setup_.report(
          absl::StrCat("io_uring_setup for a second ring: ", std::strerror(-rc),
                       "; a crash can end calls with ECANCELED"));
      return;
    }
  }
  io_uring_sqe* sqe = Sqe();
  std::memset(sqe, 0, 2 * sizeof(*sqe));
  io_uring_prep_poll_add(sqe, tether_.ring_fd, POLLIN);
  io_uring_sqe_set_data64(sqe, kTetherTag);
}

void UringLane::Answered(UringEntry* entry) {
  if (this_lane == this) {
    Commit(entry);
    return;
  }
  bool wake;
  {
    absl::MutexLock lock(&mutex_);
    wake = returned_.empty();
    returned_.push_back(entry);
  }
  if (wake) Wake();
}

void UringLane::CommitReturned() {
  std::vector<UringEntry*> returned;
  {
    absl::MutexLock lock(&mutex_);
    returned.swap(returned_);
  }
  for (UringEntry* entry : returned) Commit(entry);
}

void UringLane::Add(UringQueue& queue) {
  entries_.push_back(std::make_unique<UringEntry>(
      this, &queue, setup_.payload_size, setup_.memory));
  ++queue.entries;
}

// What is in the buffers of an earlier server: a request that it had not
// answered, or an answer that the kernel may not have taken.
void UringLane::Adopt() {
  for (UringMemory::Slot* slot : setup_.inherited) {
    for (UringQueue& queue : queues_) {
      if (queue.id != slot->queue) continue;
      entries_.push_back(std::make_unique<UringEntry>(
          this, &queue, setup_.payload_size, setup_.memory, slot));
      ++queue.entries;
      UringEntry* entry = entries_.back().get();
      entry->registered = true;
      if (entry->is_answered()) {
        Commit(entry);
      } else {
        Work(entry, Packet::Origin::kAgain);
      }
      break;
    }
  }
}

void UringLane::Drop(UringEntry* entry) {
  if (entry->queue().probe == entry) entry->queue().probe = nullptr;
  std::erase_if(committing_,
                [&](const Committed& c) { return c.entry == entry; });
  std::erase_if(entries_, [&](const auto& e) { return e.get() == entry; });
}

void UringLane::NoteCommitted() {
  for (const Committed& committed : committing_) {
    committed.entry->NoteCommitted(committed.commit_id);
  }
  committing_.clear();
}

void UringLane::Grow(UringQueue& queue) {
  queue.was_dry = true;
  // An earlier nudge may have found no entry and wait itself.
  queue.nudged = false;
  if (queue.entries >= kMaxEntries) return;
  Add(queue);
  Register(entries_.back().get());
}

void UringLane::NudgeDryQueues() {
  for (UringQueue& queue : queues_) {
    if (!queue.was_dry || queue.nudged || queue.in_kernel == 0) continue;
    io_uring_submit(&ring_);  // an entry must be there to take it
    std::optional<Visit> visit;
    if (!pinned_) visit.emplace(queue.id);
    if (pinned_ || visit->there()) queue.nudged = Nudge();
  }
}

// From the queue's own CPU: what is asked for comes to the CPU that asks.
// False: no regular file is known here that the kernel knows.
bool UringLane::Nudge() {
  // The kernel retrieves from regular files alone, which it must know (EINVAL,
  // ENOENT): those of requests that wait are, the last one that was used may.
  std::vector<uint64_t> nodes = setup_.hints;
  nodes.push_back(file_.load(std::memory_order_relaxed));
  for (const auto& entry : entries_) {
    if (entry->place == UringEntry::Place::kServer) {
      nodes.push_back(entry->node());
    }
  }
  for (uint64_t node : nodes) {
    auto ask = proto::Retrieve(NextNudge(), NodeId{node}, 0, 0);
    if (node != 0 && write(setup_.device.get(), ask.bytes().data(),
                           ask.bytes().size()) > 0) {
      return true;
    }
  }
  return false;
}

// The commit of a probe has been submitted, and a request that waited would
// have completed it at once.
void UringLane::CheckProbes() {
  for (UringQueue& queue : queues_) {
    UringEntry* probe = std::exchange(queue.probe, nullptr);
    if (probe == nullptr) continue;
    queue.nudged = false;
    unsigned head;
    io_uring_cqe* cqe;
    bool found = false;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      found |= io_uring_cqe_get_data(cqe) == probe;
    }
    queue.was_dry = found;
  }
}

bool UringLane::IsNudge(const UringEntry& entry) const {
  abi::InHeader header = entry.header();
  return header.opcode == static_cast<uint32_t>(proto::Opcode::kNotifyReply) &&
         (header.unique & kNudge) != 0;
}

// What the kernel held on the old ring is cancelled with it. A reply that was
// not submitted yet is still wanted; for the others the kernel says ENOENT.
absl::Status UringLane::Reopen() {
  if (std::exchange(has_ring_, false)) io_uring_queue_exit(&ring_);
  absl::Status status = OpenRing();
  if (!status.ok()) return status;
  std::vector<UringEntry*> held;
  for (auto& entry : entries_) {
    if (entry->place == UringEntry::Place::kKernel) held.push_back(entry.get());
  }
  for (UringQueue& queue : queues_) queue.in_kernel = 0;
  for (UringEntry* entry : held) {
    entry->place = UringEntry::Place::kServer;
    if (entry->registered) {
      Commit(entry);
    } else {
      Register(entry);
    }
  }
  for (UringQueue& queue : queues_) Grow(queue);
  ArmWake();
  ArmTether();
  return absl::OkStatus();
}

// The kernel goes on sending requests of this CPU here, and they wait: there is
// no way back to the device.
void UringLane::ReopenUntilMade() {
  absl::Status status = Reopen();
  if (!status.ok()) {
    setup_.report(absl::StrCat(status.message(), "; trying on"));
  }
  while (!status.ok() &&
         order_.load(std::memory_order_relaxed) == Order::kServe) {
    absl::SleepFor(kReopenPause);
    status = Reopen();
  }
}

void UringLane::Serve() {
  for (auto& entry : entries_) Register(entry.get());
  ArmWake();
  ArmTether();
  io_uring_submit(&ring_);
  {
    absl::MutexLock lock(&mutex_);
    registered_ = true;
  }
  Adopt();
  while (order_.load(std::memory_order_relaxed) == Order::kServe) {
    NudgeDryQueues();
    int rc = io_uring_submit_and_wait(&ring_, 1);
    if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY) {
      setup_.report(absl::StrCat("io_uring_enter: ", std::strerror(-rc),
                                 "; another ring is made"));
      ReopenUntilMade();
      continue;
    }
    NoteCommitted();
    CheckProbes();
    Reap();
    if (retry_.empty()) continue;
    // INIT's answer is on its way.
    absl::SleepFor(kRetry);
    for (UringEntry* entry : std::exchange(retry_, {})) Register(entry);
  }
}

// Returns how many requests it could not make the kernel send.
size_t UringLane::Fill(UringQueue& queue) {
  size_t wanted = queue.in_kernel;
  while (wanted > 0 && Nudge()) --wanted;
  return wanted;
}

void UringLane::LeaveToSuccessor() {
  leaving_ = true;
  absl::Time ask_at = absl::InfinitePast();
  while (order_.load(std::memory_order_relaxed) == Order::kHandOver) {
    io_uring_submit(&ring_);
    NoteCommitted();
    bool ask = absl::Now() >= ask_at;
    size_t in_kernel = 0;
    for (UringQueue& queue : queues_) {
      if (queue.in_kernel == 0) continue;
      std::optional<Visit> visit;
      if (!pinned_) visit.emplace(queue.id);
      // From a CPU that is offline nobody asks for anything.
      if (!pinned_ && !setup_.cpu && !visit->there()) continue;
      in_kernel += queue.in_kernel;
      size_t missing =
          pinned_ || visit->there() ? Fill(queue) : queue.in_kernel;
      if (missing > 0 && ask && setup_.ask) setup_.ask(queue.id, missing);
    }
    if (in_kernel == 0) return;
    if (ask) ask_at = absl::Now() + kAskAgain;
    __kernel_timespec pause = {.tv_sec = 0, .tv_nsec = kFillAgainNs};
    io_uring_cqe* cqe;
    (void)io_uring_wait_cqes(&ring_, &cqe, 1, &pause, nullptr);
    Reap();
  }
}

void UringLane::Reap() {
  io_uring_cqe* cqe;
  while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const uint64_t tag = io_uring_cqe_get_data64(cqe);
    auto* entry = static_cast<UringEntry*>(io_uring_cqe_get_data(cqe));
    int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    if (tag == kWakeTag) {
      uint64_t count;
      (void)!read(wake_.get(), &count, sizeof(count));
      CommitReturned();
      ArmWake();
    } else if (tag != kTetherTag) {
      OnEntry(entry, result);
    }
  }
}

void UringLane::OnEntry(UringEntry* entry, int result) {
  UringQueue& queue = entry->queue();
  --queue.in_kernel;
  entry->place = UringEntry::Place::kServer;
  if (result == 0) {
    if (leaving_ && entry->outlives_server()) return;
    Work(entry, Packet::Origin::kNew);
    return;
  }
  if (result == -EAGAIN && !entry->registered) {
    retry_.push_back(entry);
    return;
  }
  entry->place = UringEntry::Place::kGone;
  --queue.entries;
  if (IsOver(-result)) return;
  if (!entry->registered) {
    OnRegisterFailed(entry, -result);
    return;
  }
  // Nobody waits any more, or the kernel took the reply for a wrong one; the
  // request has ended, and the entry with it.
  DevPort::CountRefused(-result);
  Drop(entry);
  if (queue.in_kernel == 0 && !leaving_) Grow(queue);
}

void UringLane::OnRegisterFailed(UringEntry* entry, int error) {
  // Before all queues are ready the kernel gives io_uring up on the first
  // failure and goes on over /dev/fuse; later it goes on with what there is.
  if (std::exchange(reported_, true)) return;
  setup_.report(absl::StrCat("registering an entry of queue ",
                             entry->queue().id, ": ", std::strerror(error)));
}

void UringLane::Work(UringEntry* entry, Packet::Origin origin) {
  entry->registered = true;
  auto raw = entry->Read();
  if (!raw.ok()) {
    abi::InHeader header = entry->header();
    setup_.handler->OnMalformed(header.len);
    entry->Finish(proto::MakeErrorHeader(Unique{header.unique}, raw.error()));
    return;
  }
  if (IsNudge(*entry)) {
    entry->FinishSilently();
    entry->queue().probe = entry;
    return;
  }
  if (IsOnFile(raw->header.opcode)) {
    file_.store(raw->header.nodeid, std::memory_order_relaxed);
  }
  node_.store(raw->header.nodeid, std::memory_order_relaxed);
  pulse_.fetch_add(1, std::memory_order_relaxed);
  setup_.handler->OnPacket(
      Packet{.raw = *raw,
             .token = Token(entry, Unique{raw->header.unique}),
             .origin = origin});
  pulse_.fetch_add(1, std::memory_order_relaxed);
  if (UringQueue& queue = entry->queue(); queue.in_kernel == 0 && !leaving_) {
    Grow(queue);
  }
}

}  // namespace handlefs::io
