#include "daemon/control/server_control.h"

#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/control/drop_caches.h"
#include "daemon/control/socket.h"
#include "daemon/log.h"

namespace handlefs {

using Json = nlohmann::ordered_json;

ServerControl::~ServerControl() {
  std::list<Worker> workers;
  {
    // Those that still run mark themselves in the list, which stays as it is.
    absl::MutexLock lock(&mutex_);
    for (Worker& worker : workers_) {
      workers.emplace_back().thread = std::move(worker.thread);
    }
  }
  for (Worker& worker : workers) {
    if (worker.thread.joinable()) worker.thread.join();
  }
}

void ServerControl::Do(ServerWork work, UniqueFd connection) {
  if (work.what == ServerWork::What::kFollow) {
    absl::Status added =
        server_.followers().Add(connection, OkAnswer().dump() + "\n");
    if (!added.ok()) {
      Answer(std::move(connection),
             ErrorAnswer(
                 std::string(added.message().data(), added.message().size())));
    }
    return;
  }
  absl::MutexLock lock(&mutex_);
  for (auto it = workers_.begin(); it != workers_.end();) {
    if (it->done) it->thread.join();
    it = it->done ? workers_.erase(it) : std::next(it);
  }
  if (workers_.size() >= kMostThreads) {
    Answer(std::move(connection),
           ErrorAnswer(absl::StrCat(
               kMostThreads,
               " commands have not come to an end yet: see stats for what "
               "hangs")));
    return;
  }
  Worker& worker = workers_.emplace_back();
  worker.thread = std::thread(
      [this, &worker, work, connection = std::move(connection)]() mutable {
        Answer(std::move(connection), AnswerTo(work));
        absl::MutexLock lock(&mutex_);
        worker.done = true;
      });
}

Json ServerControl::AnswerTo(ServerWork work) {
  switch (work.what) {
    case ServerWork::What::kPath:
      return PathOf(NodeId{work.argument});
    case ServerWork::What::kDropCaches:
      return Drop();
    case ServerWork::What::kFollow:
      break;
  }
  return ErrorAnswer("the server does not know this command: it is older");
}

Json ServerControl::PathOf(NodeId node) {
  auto fd = nodes_.Resolve(node);
  if (!fd.ok()) {
    if (fd.error() == Errno(ESTALE) || fd.error() == Errno(ENOENT)) {
      return ErrorAnswer(absl::StrCat(
          "node ", Raw(node),
          " means no file (any more): it was removed and nobody uses it, or it "
          "is not of this mount"));
    }
    return ErrorAnswer(absl::StrCat("cannot open node ", Raw(node), ": ",
                                    std::strerror(fd.error().value())));
  }
  struct statx stx;
  if (statx((*fd)->get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) != 0) {
    return ErrorAnswer(absl::StrCat("cannot look at node ", Raw(node), ": ",
                                    std::strerror(errno)));
  }
  auto path = nodes_.HostPath(node);
  if (!path.ok() && stx.stx_nlink == 0) {
    return ErrorAnswer(absl::StrCat("node ", Raw(node), " (inode ", stx.stx_ino,
                                    ") was removed while it is in use: it has "
                                    "no path any more"));
  }
  if (!path.ok()) {
    return ErrorAnswer(absl::StrCat(
        "the host's kernel has no path of node ", Raw(node), " at hand: find ",
        nodes_.source().path, " -xdev -inum ", stx.stx_ino, " looks for it"));
  }
  Json answer = OkAnswer();
  std::string below = *path == "/" ? "" : *path;
  answer["node"] = Raw(node);
  answer["path"] = nodes_.source().path == "/" && !below.empty()
                       ? below
                       : absl::StrCat(nodes_.source().path, below);
  answer["inode"] = static_cast<uint64_t>(stx.stx_ino);
  answer["links"] = static_cast<uint64_t>(stx.stx_nlink);
  return answer;
}

Json ServerControl::Drop() {
  auto dropped = DropCaches(nodes_, server_.files(), connection_);
  if (!dropped.ok()) {
    return ErrorAnswer(absl::StrCat("the kernel does not drop its caches: ",
                                    std::strerror(dropped.error().value())));
  }
  Log(LogLevel::kInfo, "caches were dropped as told");
  Json answer = OkAnswer();
  if (dropped->names == DroppedCaches::Names::kEpoch) {
    answer["names"] = "all are asked for again (epoch)";
  } else {
    answer["names"] = absl::StrCat("dropped ", dropped->told,
                                   " in the root and all below them: this "
                                   "kernel has no epochs (Linux 6.16)");
  }
  answer["open_files"] = dropped->files;
  answer["own"] = "idle descriptors were closed";
  return answer;
}

}  // namespace handlefs
