#include "io/uring_transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace handlefs::io {
namespace {

std::vector<bool> ReadCpuList(const char* path) {
  UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 4096> text;
  ssize_t n = read(fd.get(), text.data(), text.size());
  if (n <= 0) return {};
  return ParseCpuList({text.data(), static_cast<size_t>(n)});
}

}  // namespace

std::vector<bool> ParseCpuList(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  constexpr size_t kMost = 1 << 16;
  std::vector<bool> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  auto number = [&](size_t& value) {
    auto [next, error] = std::from_chars(at, end, value);
    at = next;
    return error == std::errc() && value < kMost;
  };
  while (at != end) {
    size_t first = 0;
    if (!number(first)) return {};
    size_t last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last) || last < first) return {};
    }
    if (cpus.size() <= last) cpus.resize(last + 1);
    std::fill(cpus.begin() + static_cast<ptrdiff_t>(first),
              cpus.begin() + static_cast<ptrdiff_t>(last + 1), true);
    if (at == end) break;
    if (*at != ',' || ++at == end) return {};
  }
  return cpus;
}

absl::StatusOr<Cpus> ReadCpus() {
  std::vector<bool> possible = ReadCpuList("/sys/devices/system/cpu/possible");
  Cpus cpus{.possible = static_cast<size_t>(
                std::count(possible.begin(), possible.end(), true)),
            .online = ReadCpuList("/sys/devices/system/cpu/online")};
  if (cpus.possible == 0 || cpus.online.empty()) {
    return absl::UnavailableError(
        "/sys/devices/system/cpu does not tell how many CPUs there are");
  }
  return cpus;
}

UringTransport::UringTransport(BorrowedFd device, const Config& config,
                               PacketHandler& handler)
    : device_(device), config_(config), handler_(handler) {}

UringTransport::~UringTransport() = default;

// Of the group's queues; what holds nothing that anybody waits for is free.
std::vector<UringMemory::Slot*> UringTransport::TakeInherited(
    const Group& group) {
  std::vector<UringMemory::Slot*> out;
  std::erase_if(inherited_, [&](UringMemory::Slot* slot) {
    if (std::ranges::find(group.queues, slot->queue) == group.queues.end()) {
      return false;
    }
    out.push_back(slot);
    return true;
  });
  return out;
}

std::unique_ptr<UringLane> UringTransport::MakeLane(const Group& group,
                                                    Role role) {
  std::vector<uint64_t> hints;
  for (const auto& lane : group.lanes) {
    for (uint64_t node : lane->hints()) hints.push_back(node);
  }

  std::vector<UringMemory::Slot*> inherited;
  if (role == Role::kFirst) inherited = TakeInherited(group);
  return std::make_unique<UringLane>(
      UringLane::Setup{.device = device_,
                       .queues = group.queues,
                       .cpu = group.cpu,
                       .payload_size = config_.payload_size,
                       .scheduling = config_.scheduling,
                       .depth = config_.depth,
                       .is_relief = role == Role::kRelief,
                       .memory = config_.memory,
                       .inherited = std::move(inherited),
                       .hints = std::move(hints),
                       .handler = &handler_,
                       .report = config_.report,
                       .ask = config_.ask});
}

absl::StatusOr<std::unique_ptr<UringTransport>> UringTransport::Create(
    BorrowedFd device, const Cpus& cpus, const Config& config,
    PacketHandler& handler) {
  std::unique_ptr<UringTransport> transport(
      new UringTransport(device, config, handler));
  transport->queues_ = cpus.possible;
  if (config.memory != nullptr) {
    for (UringMemory::Slot* slot : config.memory->Inherited()) {
      auto* headers =
          reinterpret_cast<const abi::UringReqHeader*>(slot->buffers());
      uint64_t last = headers->ring_ent_in_out.commit_id;
      if (last == 0 || slot->committed.load() == last) {
        config.memory->Give(slot);
      } else {
        transport->inherited_.push_back(slot);
      }
    }
  }
  Group offline;
  // Where the numbers of CPUs have gaps, the kernel's queues have none: it
  // sends what comes from beyond the last one to queue 0.
  for (size_t id = 0; id < cpus.possible; ++id) {
    auto queue = static_cast<uint16_t>(id);
    if (id < cpus.online.size() && cpus.online[id]) {
      transport->groups_.push_back({.queues = {queue},
                                    .cpu = static_cast<int>(id),
                                    .lanes = {},
                                    .pulses = {},
                                    .progress = {}});
    } else {
      offline.queues.push_back(queue);
    }
  }
  if (!offline.queues.empty()) transport->groups_.push_back(std::move(offline));
  for (Group& group : transport->groups_) {
    group.lanes.push_back(transport->MakeLane(group, Role::kFirst));
    group.pulses.push_back(0);
  }
  for (Group& group : transport->groups_) {
    absl::Status status = group.lanes[0]->WaitUntilMade();
    if (!status.ok()) return status;
  }
  return transport;
}

void UringTransport::Start() {
  for (Group& group : groups_) group.lanes[0]->Begin();
  started_.store(true, std::memory_order_release);
}

void UringTransport::WaitUntilRegistered() {
  for (Group& group : groups_) group.lanes[0]->WaitUntilRegistered();
}

void UringTransport::Stop() {
  for (Group& group : groups_) {
    for (auto& lane : group.lanes) lane->Stop();
  }
}

bool UringTransport::HandOver(absl::Time until) {
  for (Group& group : groups_) {
    for (auto& lane : group.lanes) {
      lane->yielder().Stop();
      lane->HandOver();
    }
  }
  bool all = true;
  for (Group& group : groups_) {
    for (auto& lane : group.lanes) all &= lane->WaitUntilHandedOver(until);
  }
  Stop();
  return all;
}

Activity UringTransport::Tick() {
  Activity activity = Activity::kIdle;
  if (!started_.load(std::memory_order_acquire)) return activity;
  uint64_t requests = 0;
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.lanes.size(); ++i) {
      requests += (group.lanes[i]->pulse() - group.pulses[i]) / 2;
    }
  }
  const Pace pace = pace_.Tick(requests);
  for (Group& group : groups_) {
    size_t stuck = 0;
    for (size_t i = 0; i < group.lanes.size(); ++i) {
      uint64_t pulse = group.lanes[i]->pulse();
      const uint64_t moved = pulse - group.pulses[i];
      const bool working = (pulse & 1) != 0;
      if (working || moved != 0) activity = Activity::kBusy;
      // One that yields may only have waited for its CPU. It stops, whatever
      // the others do, and is looked at again.
      const bool stands = working && moved == 0;
      Yielder& yielder = group.lanes[i]->yielder();
      stuck += stands && !yielder.yields();
      yielder.Tick(stands ? Pace::kSlow : pace, moved / 2);
      group.pulses[i] = pulse;
    }
    if (stuck < group.lanes.size()) {
      group.progress = std::chrono::steady_clock::now();
      continue;
    }
    if (stuck >= config_.max_lanes) continue;
    auto lane = MakeLane(group, Role::kRelief);
    if (!lane->WaitUntilMade().ok()) continue;
    lane->Begin();
    group.lanes.push_back(std::move(lane));
    group.pulses.push_back(0);
  }
  return activity;
}

std::chrono::steady_clock::time_point UringTransport::last_progress() const {
  auto oldest = std::chrono::steady_clock::now();
  for (const Group& group : groups_) oldest = std::min(oldest, group.progress);
  return oldest;
}

}  // namespace handlefs::io
