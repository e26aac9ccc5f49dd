#include "runner.h"

#include <fcntl.h>
#include <unistd.h>

#include "fixtures.h"
#include "progress.h"
#include "statistics.h"
#include "text.h"

namespace handlefs::bench {
namespace {

constexpr double kPrepareSeconds = 900;
// A system that so often did not start is left alone: each try takes 15 s.
constexpr int kTries = 2;

// Memory of the server's processes and of the kernel at one moment.
struct Memory {
  Usage usage;
  std::optional<uint64_t> fuse_inode, dentry;
};

Memory LookAtMemory(const std::vector<pid_t>& processes) {
  std::string slabs = ReadFile("/proc/slabinfo");
  return {.usage = UsageOf(processes),
          .fuse_inode = SlabBytes(slabs, "fuse_inode"),
          .dentry = SlabBytes(slabs, "dentry")};
}

double PerOp(uint64_t before, uint64_t after, uint64_t ops) {
  return (static_cast<double>(after) - static_cast<double>(before)) /
         static_cast<double>(ops);
}

void AddMemory(const Memory& before, const Memory& after, uint64_t files,
               Sample* sample) {
  sample->extra["rss"] = PerOp(before.usage.rss, after.usage.rss, files);
  sample->extra["descriptors"] =
      PerOp(before.usage.descriptors, after.usage.descriptors, files);
  if (before.fuse_inode && after.fuse_inode) {
    sample->extra["fuse_inode"] =
        PerOp(*before.fuse_inode, *after.fuse_inode, files);
  }
  if (before.dentry && after.dentry) {
    sample->extra["dentry"] = PerOp(*before.dentry, *after.dentry, files);
  }
}

// What was written before is not written during the measurement.
void Settle(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)syncfs(fd.get());
}

}  // namespace

Runner::Runner(const Options& options, std::vector<System> systems,
               std::vector<Workload> workloads, Scratch& scratch,
               Signals& signals)
    : options_(options),
      systems_(std::move(systems)),
      workloads_(std::move(workloads)),
      scratch_(scratch),
      signals_(signals),
      strangers_(Descendants(getpid(), {})),
      end_(Now() + static_cast<uint64_t>(options.time_limit * 1e9)) {}

bool Runner::IsOver() const { return signals_.Pending() != 0 || Now() >= end_; }

void Runner::Run(Results* results) {
  for (const Workload& workload : workloads_) {
    results->workloads.push_back(workload.info);
    for (const System& system : systems_) {
      Cell& cell = results->At(workload.info.name, system.name);
      if (system.kind == System::Kind::kFloor &&
          workload.on_floor == Workload::Floor::kNot) {
        cell.outcome = Outcome::kUnsupported;
      }
    }
  }
  Progress progress(static_cast<size_t>(options_.repetitions) *
                    workloads_.size() * systems_.size());
  for (int repetition = 0; repetition < options_.repetitions; ++repetition) {
    for (size_t w = 0; w < workloads_.size(); ++w) {
      size_t turn = static_cast<size_t>(repetition) + w;
      for (size_t s : Rotated(systems_.size(), turn)) {
        if (IsOver()) return;
        const System& system = systems_[s];
        Cell& cell = results->At(workloads_[w].info.name, system.name);
        progress.Step(Format("%d %s %s", repetition + 1, cell.workload.c_str(),
                             cell.system.c_str()));
        // What failed once would fail again.
        if (cell.outcome == Outcome::kFailed ||
            cell.outcome == Outcome::kUnsupported) {
          continue;
        }
        Measure(workloads_[w], system, repetition, cell);
      }
    }
  }
}

void Runner::EndOthers(std::vector<pid_t> clients) const {
  clients.insert(clients.end(), strangers_.begin(), strangers_.end());
  for (pid_t pid : Descendants(getpid(), clients)) KillAndReap(pid);
}

Gathered Runner::OnNative(const std::function<void(Client&)>& work) {
  Task task;
  task.root = scratch_.source();
  task.warm_up = work;
  task.measure = [](Client& client) { client.Measured(1, 1); };
  task.seconds = kPrepareSeconds;
  task.on_trouble = [this](const std::vector<pid_t>& clients) {
    EndOthers(clients);
  };
  return RunCrew(task, options_.knobs, signals_);
}

bool Runner::Prepare(const Workload& workload, Cell& cell) {
  auto done = [&cell](const Gathered& gathered) {
    if (gathered.outcome == Outcome::kMeasured) return true;
    cell.outcome = gathered.outcome;
    cell.reason = "preparing: " + gathered.reason;
    return false;
  };
  for (const std::string& name : workload.fixtures) {
    if (built_.contains(name)) continue;
    if (!done(OnNative([&](Client& client) { BuildFixture(client, name); }))) {
      return false;
    }
    built_.insert(name);
  }
  if (auto wrong = scratch_.Renew()) {
    cell.outcome = Outcome::kFailed;
    cell.reason = *wrong;
    return false;
  }
  if (!done(OnNative(workload.prepare))) return false;
  Settle(scratch_.source());
  return true;
}

Gathered Runner::OnSystem(const Workload& workload, const System& system,
                          Sample* sample) {
  Server server(system, scratch_, signals_, strangers_);
  const bool served = system.kind != System::Kind::kNative;
  if (served) {
    if (auto wrong = server.Start()) {
      Trouble& trouble = troubles_[system.name];
      trouble.times += 1;
      trouble.reason = *wrong;
      return {.outcome = Outcome::kFailed, .reason = *wrong};
    }
    troubles_.erase(system.name);
  }
  uint64_t cpu_before = 0, cpu_after = 0;
  Memory before, after;
  const bool memory = workload.memory == Workload::Memory::kLookedAt && served;
  Task task;
  task.clients = workload.info.clients;
  task.root = served ? scratch_.mount() : scratch_.source();
  task.warm_up = workload.warm_up;
  task.measure = workload.measure;
  task.seconds = options_.patience + 2 * options_.knobs.seconds;
  task.on_trouble = [&](const std::vector<pid_t>& clients) {
    if (served) {
      server.Kill(clients);
    } else {
      EndOthers(clients);
    }
  };
  task.on_start = [&](const std::vector<pid_t>& clients) {
    if (!served) return;
    auto processes = server.Processes(clients);
    if (memory) before = LookAtMemory(processes);
    cpu_before = CpuOf(processes);
  };
  task.on_end = [&](const std::vector<pid_t>& clients) {
    if (!served) return;
    auto processes = server.Processes(clients);
    cpu_after = CpuOf(processes);
    if (memory) after = LookAtMemory(processes);
  };
  Gathered gathered = RunCrew(task, options_.knobs, signals_);
  if (gathered.outcome == Outcome::kMeasured) {
    sample->value =
        InUnit(workload.info, static_cast<double>(gathered.nanoseconds) /
                                  static_cast<double>(gathered.ops));
    sample->extra = gathered.extra;
    sample->server_cpu_us =
        served ? PerOp(cpu_before, cpu_after, gathered.ops) / 1e3 : 0;
    if (memory) AddMemory(before, after, gathered.ops, sample);
  } else if (served && gathered.outcome == Outcome::kFailed) {
    std::string words = server.LastWords();
    if (!words.empty()) gathered.reason += " (server: " + words + ")";
  }
  return gathered;
}

void Runner::Measure(const Workload& workload, const System& system,
                     int repetition, Cell& cell) {
  Cell attempt = cell;
  attempt.outcome = Outcome::kMeasured;
  attempt.reason.clear();
  auto trouble = troubles_.find(system.name);
  if (trouble != troubles_.end() && trouble->second.times >= kTries) {
    attempt.outcome = Outcome::kFailed;
    attempt.reason = trouble->second.reason + " (not tried again)";
  } else if (Prepare(workload, attempt)) {
    Sample sample{.repetition = repetition};
    Gathered gathered = OnSystem(workload, system, &sample);
    attempt.outcome = gathered.outcome;
    attempt.reason = gathered.reason;
    if (gathered.outcome == Outcome::kMeasured) {
      attempt.samples.push_back(std::move(sample));
    }
  }
  // What a signal broke off says nothing about the system.
  if (signals_.Pending() == 0) cell = std::move(attempt);
}

}  // namespace handlefs::bench
