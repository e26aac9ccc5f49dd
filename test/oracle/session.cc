#include "session.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace oracle {

namespace {

bool IsEmpty(const std::string& dir) {
  DIR* d = opendir(dir.c_str());
  if (d == nullptr) return false;
  int n = 0;
  while (readdir(d) != nullptr) n++;
  closedir(d);
  return n == 2;
}

bool FindRaw(const Result& r, const std::string& label, RawTimes* raw) {
  for (const Field& f : r) {
    if (f.tag != Tag::kRaw || f.label != label) continue;
    memcpy(raw, f.text.data(), sizeof(*raw));
    return true;
  }
  return false;
}

int Order(const int64_t a[2], const int64_t b[2]) {
  if (a[0] != b[0]) return a[0] < b[0] ? -1 : 1;
  if (a[1] != b[1]) return a[1] < b[1] ? -1 : 1;
  return 0;
}

const char* MoveText(const int64_t before[2], const int64_t after[2]) {
  static const char* const kText[] = {"moved", "unchanged", "moved back"};
  return kText[Order(before, after) + 1];
}

// Whether a read would move atime under relatime; two sides on different
// sides of a clock tick may disagree, and then atime says nothing.
bool AtimeDue(const RawTimes& raw) {
  return Order(raw.t[1], raw.t[0]) >= 0 || Order(raw.t[2], raw.t[0]) >= 0 ||
         raw.t[0][0] + 86400 <= time(nullptr);
}

}  // namespace

bool Session::Start(const std::string& left, const std::string& right,
                    const std::string& host_of_right, std::string* error) {
  for (const std::string* dir : {&left, &right, &host_of_right}) {
    if (!dir->empty() && !IsEmpty(*dir)) {
      *error = *dir + " is not an empty directory";
      return false;
    }
  }
  timespec res = {0, 4000000};
  clock_getres(CLOCK_REALTIME_COARSE, &res);
  tick_us_ = static_cast<unsigned>(res.tv_nsec / 1000) * 2 + 500;
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return false;
  pids_ = static_cast<pid_t*>(shared);
  int64_t now = time(nullptr);
  bool ok = true;
  for (int i = 0; i < kIdents; i++) {
    ok = ok && workers_[kLeft][i].Start(left, i, now, pids_);
    ok = ok && workers_[kRight][i].Start(right, i, now, pids_ + 16);
  }
  has_host_ = !host_of_right.empty();
  if (has_host_) ok = ok && host_.Start(host_of_right, 0, now, pids_ + 32);
  if (!ok) *error = "cannot start the workers";
  return ok;
}

bool Session::Both(int ident, Request request, const Op& op, Result out[2],
                   Difference* diff) {
  static const char* const kSide[] = {"left", "right"};
  for (auto& side : workers_) side[ident].Send(request, op);
  for (int s = 0; s < 2; s++) {
    Reply reply = workers_[s][ident].Receive(&out[s]);
    if (reply == Reply::kOk) continue;
    std::string what = reply == Reply::kHang ? "hang" : "died";
    diff->rows.push_back({Tag::kWorker, kSide[s], s == kLeft ? what : "alive",
                          s == kRight ? what : "alive"});
    diff->fatal = true;
    return false;
  }
  return true;
}

bool Session::CompareAll(const Op* op, Result out[2], const char* where,
                         Difference* diff) {
  const std::vector<uint64_t> inos = Canonicalize(&out[kLeft]);
  Canonicalize(&out[kRight]);
  diff->rows = Compare(out[kLeft], out[kRight], quirks_.ignore());
  if (!diff->rows.empty()) {
    quirks_.Excuse(op, out[kLeft], inos, memory_, &diff->rows);
  }
  diff->where = where;
  return diff->rows.empty();
}

bool Session::Reset(std::string* error) {
  Result out[2];
  Difference diff;
  bool ok = true;
  memory_.Clear();
  for (int i = 0; i < kIdents; i++) {
    ok = ok && Both(i, Request::kReset, Op(), out, &diff);
  }
  ok = ok && Both(0, Request::kEmpty, Op(), out, &diff);
  if (!ok) {
    *error = "a worker does not answer";
    return false;
  }
  for (const Result& r : out) {
    if (!r.empty() && r.back().num != 0) {
      *error = std::string("cannot empty the ") +
               (&r == out ? "left" : "right") + " side: " + r.back().text;
      return false;
    }
  }
  return true;
}

void Session::CompareTimes(const Result before[2], const Result after[2],
                           Result rel[2]) {
  for (const Field& f : after[kLeft]) {
    if (f.tag != Tag::kRaw) continue;
    RawTimes raw[2][2];
    bool complete = true;
    for (int s = 0; s < 2; s++) {
      complete = complete && FindRaw(before[s], f.label, &raw[s][0]) &&
                 FindRaw(after[s], f.label, &raw[s][1]);
    }
    if (!complete) continue;
    bool atime = AtimeDue(raw[kLeft][0]) == AtimeDue(raw[kRight][0]);
    for (int s = 0; s < 2; s++) {
      const RawTimes &b = raw[s][0], &a = raw[s][1];
      bool same = a.ino == b.ino;
      rel[s].push_back({Tag::kSame, f.label, same, {}});
      if (!same) continue;
      static const Tag kTag[] = {Tag::kMoveA, Tag::kMoveM, Tag::kMoveC,
                                 Tag::kMoveB};
      for (int i = atime ? 0 : 1; i < 4; i++) {
        rel[s].push_back({kTag[i], f.label, 0, MoveText(b.t[i], a.t[i])});
      }
    }
  }
}

void Session::Remember(const Op& op) {
  if (!quirks_.NeedsPast()) return;
  Result objects;
  // Looking at them walks their paths, which moves the atime of links; a step
  // which failed early on has not done that.
  const bool walked =
      left_ret_ >= 0 || left_ret_ == -EPERM || left_ret_ == -EACCES;
  Worker& left = workers_[kLeft][op.ident];
  if (walked && left.Send(Request::kPeek, op)) left.Receive(&objects);
  memory_.Note(op, objects);
}

bool Session::Step(const Op& op, Difference* diff) {
  Result before[2], out[2];
  if ((op.obs & kObsTimes) != 0) {
    if (!Both(op.ident, Request::kBefore, op, before, diff)) return false;
    usleep(tick_us_);
  }
  if (!Both(op.ident, Request::kRun, op, out, diff)) return false;
  left_ret_ = 0;
  for (const Field& f : out[kLeft]) {
    if (f.tag == Tag::kRet && f.label.empty()) {
      left_ret_ = f.num;
      break;
    }
  }
  Remember(op);
  if ((op.obs & kObsTimes) != 0) {
    Result rel[2];
    CompareTimes(before, out, rel);
    for (int s = 0; s < 2; s++) {
      out[s].insert(out[s].end(), rel[s].begin(), rel[s].end());
    }
  }
  if (!CompareAll(&op, out, "the step", diff)) return false;
  return (op.obs & kObsWalk) == 0 || WalkBoth(diff);
}

bool Session::WalkBoth(Difference* diff) {
  Result all[2], part[2];
  if (!Both(0, Request::kWalk, Op(), all, diff)) return false;
  for (int i = 0; i < kIdents; i++) {
    if (!Both(i, Request::kSlots, Op(), part, diff)) return false;
    for (int s = 0; s < 2; s++) {
      all[s].insert(all[s].end(), part[s].begin(), part[s].end());
    }
  }
  return CompareAll(nullptr, all, "the tree after the step", diff);
}

bool Session::Final(Difference* diff) {
  if (!WalkBoth(diff)) return false;
  if (!has_host_) return true;
  Result ignored[2], all[2];
  if (!Both(0, Request::kSync, Op(), ignored, diff)) return false;
  workers_[kLeft][0].Send(Request::kWalk, Op());
  if (workers_[kLeft][0].Receive(&all[kLeft]) != Reply::kOk ||
      !host_.Send(Request::kWalk, Op()) ||
      host_.Receive(&all[kRight]) != Reply::kOk) {
    diff->fatal = true;
    diff->rows.push_back({Tag::kWorker, "host", "alive", "no answer"});
    return false;
  }
  return CompareAll(nullptr, all, "the tree behind the right side", diff);
}

}  // namespace oracle
