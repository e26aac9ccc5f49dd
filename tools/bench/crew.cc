#include "crew.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "text.h"

namespace handlefs::bench {
namespace {

constexpr int kMostClients = 8;

struct Shared {
  std::atomic<int> stop{0};
  ClientReport reports[kMostClients];
};

struct Pipe {
  UniqueFd read_end, write_end;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
  }
  bool ok() const { return static_cast<bool>(read_end); }
};

class Crew {
 public:
  Crew(const Task& task, const Knobs& knobs, Signals& signals)
      : task_(task),
        knobs_(knobs),
        signals_(signals),
        count_(std::min(task.clients, kMostClients)),
        deadline_(Now() + static_cast<uint64_t>(task.seconds * 1e9)) {}
  ~Crew() {
    for (pid_t pid : pids_) kill(pid, SIGKILL);
    if (!done_) task_.on_trouble(pids_);
    for (pid_t pid : pids_) KillAndReap(pid);
    if (!done_) task_.on_trouble({});
    if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
  }

  Gathered Run() {
    if (!Start()) return Failed("start: no memory, pipe or process");
    if (!Await('r')) return Collect();
    task_.on_start(pids_);
    const std::string go(static_cast<size_t>(count_), 'g');
    if (write(go_.write_end.get(), go.data(), go.size()) !=
        static_cast<ssize_t>(go.size())) {
      return Failed("start: pipe");
    }
    if (!Await('d')) return Collect();
    task_.on_end(pids_);
    done_ = true;
    leave_.write_end.reset();
    return Collect();
  }

 private:
  static Gathered Failed(const std::string& why) {
    return {.outcome = Outcome::kFailed, .reason = why};
  }

  bool Start() {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || !say_.ok() || !go_.ok() || !leave_.ok() ||
        !relay_.ok()) {
      return false;
    }
    shared_ = new (memory) Shared;
    for (int i = 0; i < count_; ++i) {
      pid_t pid = fork();
      if (pid < 0) return false;
      if (pid == 0) Serve(i);
      pids_.push_back(pid);
      handles_.emplace_back(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    }
    return true;
  }

  [[noreturn]] void Serve(int index) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Ctrl-C stays blocked here: the harness ends its clients itself.
    leave_.write_end.reset();
    ClientReport& report = shared_->reports[index];
    Client client({.index = index,
                   .count = count_,
                   .root = task_.root,
                   .knobs = &knobs_,
                   .report = &report,
                   .relay_read = relay_.read_end.get(),
                   .relay_write = relay_.write_end.get(),
                   .stop = &shared_->stop});
    char byte = 'r';
    task_.warm_up(client);
    if (write(say_.write_end.get(), &byte, 1) != 1 ||
        read(go_.read_end.get(), &byte, 1) != 1) {
      client.FailPlainly("the harness is gone");
    }
    task_.measure(client);
    report.state.store(ClientReport::kDone);
    byte = 'd';
    (void)!write(say_.write_end.get(), &byte, 1);
    // The last close of a file would be counted to those who still measure.
    (void)!read(leave_.read_end.get(), &byte, 1);
    _exit(0);
  }

  // All clients have said `word`; false if one failed, the time is over, or a
  // signal came.
  bool Await(char word) {
    std::vector<pollfd> waits{
        {.fd = say_.read_end.get(), .events = POLLIN, .revents = 0},
        {.fd = signals_.fd().get(), .events = POLLIN, .revents = 0}};
    // None of them ends while it is waited for here, unless it failed.
    for (const UniqueFd& handle : handles_) {
      waits.push_back({.fd = handle.get(), .events = POLLIN, .revents = 0});
    }
    for (int said = 0; said < count_;) {
      uint64_t now = Now();
      if (now >= deadline_) {
        trouble_ = Format("no answer in %g s", task_.seconds);
        return false;
      }
      (void)poll(waits.data(), waits.size(),
                 static_cast<int>((deadline_ - now) / 1000000 + 1));
      if (signals_.Pending() != 0) {
        trouble_ = "interrupted";
        return false;
      }
      if ((waits[0].revents & POLLIN) != 0) {
        char words[kMostClients];
        ssize_t n = read(say_.read_end.get(), words, sizeof(words));
        for (ssize_t i = 0; i < n; ++i) said += words[i] == word;
      }
      for (size_t i = 2; i < waits.size(); ++i) {
        if ((waits[i].revents & POLLIN) != 0) return false;
      }
    }
    return true;
  }

  Gathered Collect() const {
    Gathered out;
    for (int i = 0; i < count_; ++i) {
      const ClientReport& report = shared_->reports[i];
      int state = report.state.load();
      if (state == ClientReport::kFailed ||
          state == ClientReport::kUnsupported) {
        out.outcome = state == ClientReport::kFailed ? Outcome::kFailed
                                                     : Outcome::kUnsupported;
        out.reason = report.reason;
        return out;
      }
    }
    for (int i = 0; i < count_; ++i) {
      const ClientReport& report = shared_->reports[i];
      if (report.state.load() != ClientReport::kDone) {
        return Failed(trouble_.empty() ? "a client died" : trouble_);
      }
      out.ops += report.ops;
      out.nanoseconds += report.nanoseconds;
      for (int e = 0; e < report.extras; ++e) {
        out.extra[report.extra[e].name] = report.extra[e].value;
      }
    }
    if (out.ops == 0) return Failed("nothing was measured");
    return out;
  }

  const Task& task_;
  const Knobs& knobs_;
  Signals& signals_;
  const int count_;
  const uint64_t deadline_;
  Pipe say_, go_, leave_, relay_;
  Shared* shared_ = nullptr;
  std::vector<pid_t> pids_;
  std::vector<UniqueFd> handles_;
  std::string trouble_;
  bool done_ = false;
};

}  // namespace

Gathered RunCrew(const Task& task, const Knobs& knobs, Signals& signals) {
  return Crew(task, knobs, signals).Run();
}

}  // namespace handlefs::bench
