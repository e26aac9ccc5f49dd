// The `uring` transport: FUSE-over-io_uring, a queue for each CPU that the
// kernel knows. It stands beside a DevTransport, which brings INIT, and then
// FORGET, INTERRUPT and the end of the connection.
//
// A CPU that is online has a lane of its own, pinned there: the kernel gives a
// request to the queue of the CPU that asks, and a hand-over on the same CPU
// costs a tenth of one to another. CPUs that are offline share one lane, for
// the kernel waits until every queue is registered. A lane that sits in one
// request for a tick gets another beside it, as a reader of the device would.
//
//   Create   threads, rings and buffers, before INIT is answered
//   Start    registers; the kernel says EAGAIN until the answer has arrived,
//            and gives every request to the device if a queue is refused
#ifndef HANDLEFS_IO_URING_TRANSPORT_H_
#define HANDLEFS_IO_URING_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "io/base/fd.h"
#include "io/uring_lane.h"

namespace handlefs::io {

// CPUs as the kernel counts them: its queues are as many as may ever be there.
struct Cpus {
  size_t possible = 0;
  std::vector<bool> online;  // by number
};
// UNAVAILABLE: /sys does not tell.
absl::StatusOr<Cpus> ReadCpus();
// "0-3,8" as in /sys; nothing if it cannot be read.
std::vector<bool> ParseCpuList(std::string_view text);

class UringTransport {
 public:
  struct Config {
    size_t payload_size = 1 << 20;  // at least what INIT says of max_write
    unsigned max_lanes = 8;         // of one CPU
    size_t depth = 4;               // entries of a queue to begin with
    Scheduling scheduling = Scheduling::kNormal;
    // Null: buffers end with the server. Else it outlives the transport, which
    // goes on with what an earlier one left there.
    UringMemory* memory = nullptr;
    // Any thread: a queue that cannot be served as it should; one line.
    std::function<void(std::string)> report;
    // Of UringLane::Setup. Any thread.
    std::function<void(uint16_t cpu, size_t times)> ask = nullptr;
  };
  // UNAVAILABLE: says which step failed. `handler` outlives the transport.
  static absl::StatusOr<std::unique_ptr<UringTransport>> Create(
      BorrowedFd device, const Cpus& cpus, const Config& config,
      PacketHandler& handler);
  ~UringTransport();

  void Start();
  // After Start, once INIT was answered: requests find all queues ready.
  void WaitUntilRegistered();
  // Ends all lanes, which then call the handler no more. Tokens may still be
  // used until the destructor, but nobody gets the answer.
  void Stop();
  // The same for a successor that is given the memory: requests that come
  // meanwhile are left to it, none is lost. False: not all lanes were ready
  // when `until` came. No Tick may run.
  bool HandOver(absl::Time until);
  // The watchdog's look at the lanes, each 10 ms while there are requests.
  Activity Tick();
  // When all queues had last been seen to get on: a lane began or ended a
  // request, or waits. The watchdog's thread.
  std::chrono::steady_clock::time_point last_progress() const;
  size_t queues() const { return queues_; }
  size_t payload_size() const { return config_.payload_size; }

 private:
  struct Group {
    std::vector<uint16_t> queues;
    std::optional<int> cpu;
    std::vector<std::unique_ptr<UringLane>> lanes;
    std::vector<uint64_t> pulses;  // at the last tick
    std::chrono::steady_clock::time_point progress{};
  };
  UringTransport(BorrowedFd device, const Config& config,
                 PacketHandler& handler);
  enum class Role { kFirst, kRelief };
  std::unique_ptr<UringLane> MakeLane(const Group& group, Role role);
  std::vector<UringMemory::Slot*> TakeInherited(const Group& group);

  const BorrowedFd device_;
  const Config config_;
  PacketHandler& handler_;
  size_t queues_ = 0;
  std::vector<UringMemory::Slot*> inherited_;
  std::atomic<bool> started_{false};
  std::vector<Group> groups_;  // the watchdog's once started
  PaceMeter pace_;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_URING_TRANSPORT_H_
