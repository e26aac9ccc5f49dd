// One thread of the `uring` transport with its ring, which serves one queue of
// the kernel (a CPU), or those of all CPUs that are offline.
//
// COMMIT_AND_FETCH is reply and next request in one system call. It must come
// from the ring that the entry was registered on (from another one, the kernel
// moves the entry there for good), so what other threads finish is handed back
// to the lane's own thread. A request that is away (offloaded, or a lock that
// waits) holds its entry; when the last one is away the lane registers another.
//
// What came while a queue was dry stays in the kernel's list, which is looked
// at when an entry is committed, but not when one is registered (Linux 6.14 to
// 6.18). If all entries are away, and a waiting lock may be one, that can be
// never. So the lane makes the kernel send it a request that it can answer: a
// RETRIEVE of no data, whose NOTIFY_REPLY comes to the queue of the CPU that
// asked. Its commit fetches what waits. (Linux 6.18 retrieves from regular
// files only. Where all that wait are about directories, the next request of
// that CPU does it.)
#ifndef HANDLEFS_IO_URING_LANE_H_
#define HANDLEFS_IO_URING_LANE_H_

#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "io/base/fd.h"
#include "io/uring_entry.h"
#include "io/yielding.h"

namespace handlefs::io {

// A queue as one lane sees it.
struct UringQueue {
  uint16_t id = 0;
  size_t entries = 0;    // that are not gone
  size_t in_kernel = 0;  // of them, those that wait for a request
  // Requests may wait in the kernel's list since the queue was dry.
  bool was_dry = false;
  bool nudged = false;  // a NOTIFY_REPLY is on its way, or back
  // Brought the NOTIFY_REPLY and goes back; if it does not come with a request
  // at once, none waited.
  UringEntry* probe = nullptr;
};

class UringLane {
 public:
  struct Setup {
    BorrowedFd device;
    std::vector<uint16_t> queues;
    std::optional<int> cpu;  // where the thread stays; unset: anywhere
    size_t payload_size = 0;
    Scheduling scheduling = Scheduling::kNormal;
    // Entries of each queue to begin with; more come when they are away.
    size_t depth = 4;
    // Beside a lane that is stuck: requests may wait already.
    bool is_relief = false;
    // Null: buffers end with the server.
    UringMemory* memory = nullptr;
    // What an earlier server left of these queues.
    std::vector<UringMemory::Slot*> inherited = {};
    std::vector<uint64_t> hints = {};  // what that lane is at
    PacketHandler* handler = nullptr;
    // Called by the lane's thread if a queue cannot be registered (once), or
    // its ring breaks.
    std::function<void(std::string)> report;
    // Has another process ask the mount for something, so often, on that CPU.
    // Null: it cannot be had.
    std::function<void(uint16_t cpu, size_t times)> ask = nullptr;
  };
  // Starts the thread, which makes the ring and the first entry of each queue
  // on its own CPU. Nothing is registered yet.
  explicit UringLane(Setup setup);
  ~UringLane() { Stop(); }
  UringLane(const UringLane&) = delete;
  UringLane& operator=(const UringLane&) = delete;

  // Waits until the ring is made; says which step failed.
  absl::Status WaitUntilMade();
  // Registers the entries and serves. Once INIT was answered, or just before:
  // the kernel says EAGAIN until then.
  void Begin();
  // From then on a request finds an entry. Also returns when the lane ends.
  void WaitUntilRegistered();

  // Returns when the request being worked on is answered. What is answered
  // later goes nowhere.
  void Stop();
  // Ends the lane for a successor with the same memory: what comes is left to
  // it, and what is answered from now on too. To be waited for, then stopped.
  void HandOver();
  // False: `until` came first; requests of this lane may end with ECANCELED.
  bool WaitUntilHandedOver(absl::Time until);

  // Once it is made; the watchdog's.
  Yielder& yielder() { return yielder_; }

  // Odd while a request is worked on; changes with each request.
  uint64_t pulse() const { return pulse_.load(std::memory_order_relaxed); }

  // Nodes that the kernel knows, probably.
  std::vector<uint64_t> hints() const { return {node_.load(), file_.load()}; }

  // Of UringEntry: it holds a reply. Any thread.
  void Answered(UringEntry* entry);

 private:
  enum class Order : uint8_t { kWait, kServe, kHandOver, kStop };

  void Main();
  absl::Status Make();
  absl::Status OpenRing();
  absl::Status Reopen();
  void ReopenUntilMade();
  void Serve();
  void Reap();
  void OnEntry(UringEntry* entry, int result);
  void OnRegisterFailed(UringEntry* entry, int error);
  void Work(UringEntry* entry, Packet::Origin origin);
  void Adopt();
  void Drop(UringEntry* entry);
  void NoteCommitted();
  void Add(UringQueue& queue);
  void Grow(UringQueue& queue);
  void NudgeDryQueues();
  bool Nudge();
  void LeaveToSuccessor();
  size_t Fill(UringQueue& queue);
  void Wake();
  void CheckProbes();
  bool IsNudge(const UringEntry& entry) const;
  void CommitReturned();
  void Register(UringEntry* entry);
  void Commit(UringEntry* entry);
  void ArmWake();
  void ArmTether();
  io_uring_sqe* Sqe();
  void Prepare(UringEntry* entry, uint32_t command, uint64_t commit_id);

  const Setup setup_;
  UniqueFd wake_;
  io_uring ring_{};
  bool has_ring_ = false;
  io_uring tether_{};  // nothing is ever asked of it
  bool has_tether_ = false;
  bool pinned_ = false;
  Yielder yielder_;
  std::vector<UringQueue> queues_;  // not resized: entries point into it
  std::vector<std::unique_ptr<UringEntry>> entries_;
  std::vector<UringEntry*> retry_;  // REGISTER said EAGAIN
  struct Committed {
    UringEntry* entry;
    uint64_t commit_id;
  };
  std::vector<Committed> committing_;  // not submitted yet
  bool reported_ = false;
  bool leaving_ = false;  // nothing is worked on or committed any more
  std::atomic<uint64_t> pulse_{0};
  std::atomic<uint64_t> node_{0};  // of the request that is worked on
  std::atomic<uint64_t> file_{0};  // the last one that was a regular file
  std::atomic<Order> order_{Order::kWait};
  absl::Mutex mutex_;
  bool made_ ABSL_GUARDED_BY(mutex_) = false;
  bool registered_ ABSL_GUARDED_BY(mutex_) = false;
  bool left_ ABSL_GUARDED_BY(mutex_) = false;  // HandOver is done
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<UringEntry*> returned_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_URING_LANE_H_
