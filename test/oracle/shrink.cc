#include "shrink.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace oracle {

namespace {

constexpr int kMaxRuns = 200;
constexpr int kMaxSeconds = 60;

std::string Clip(const std::string& s) {
  return s.size() > 400 ? s.substr(0, 400) + ".." : s;
}

}  // namespace

Difference RunOps(Session* session, const std::vector<Op>& ops) {
  Difference diff;
  std::string error;
  if (!session->Reset(&error)) {
    fprintf(stderr, "oracle: %s\n", error.c_str());
    exit(2);
  }
  for (size_t i = 0; i < ops.size(); i++) {
    if (session->Step(ops[i], &diff)) continue;
    diff.step = static_cast<int>(i);
    return diff;
  }
  if (!session->Final(&diff)) diff.step = static_cast<int>(ops.size());
  return diff;
}

bool Shrinker::Expired() const {
  return best_diff_.fatal || runs_ >= kMaxRuns || time(nullptr) > deadline_;
}

bool Shrinker::SameKind(const std::vector<Op>& ops,
                        const Difference& diff) const {
  Kind kind = Kind::kCount;
  if (diff.step < static_cast<int>(ops.size())) kind = ops[diff.step].kind;
  if (kind != kind_ || diff.rows.empty()) return false;
  return diff.rows[0].tag == first_.rows[0].tag;
}

bool Shrinker::Try(const std::vector<Op>& ops) {
  if (Expired()) return false;
  runs_++;
  Difference diff = RunOps(session_, ops);
  if (!diff.found()) return false;
  if (diff.fatal) {
    best_ = ops;
    best_diff_ = diff;
    return true;
  }
  if (!SameKind(ops, diff)) return false;
  best_ = ops;
  // Steps behind the difference never matter.
  size_t end = static_cast<size_t>(diff.step) + 1;
  if (end < best_.size()) best_.resize(end);
  best_diff_ = diff;
  return true;
}

void Shrinker::DropChunks() {
  size_t chunk = best_.size() / 2;
  while (chunk >= 1 && !Expired()) {
    bool dropped = false;
    for (size_t end = best_.size(); end > 0 && !Expired();) {
      size_t begin = end > chunk ? end - chunk : 0;
      std::vector<Op> fewer(best_);
      auto at = fewer.begin();
      fewer.erase(at + static_cast<std::ptrdiff_t>(begin),
                  at + static_cast<std::ptrdiff_t>(end));
      if (Try(fewer)) {
        dropped = true;
        end = std::min(begin, best_.size());
      } else {
        end = begin;
      }
    }
    if (chunk > 1) {
      chunk /= 2;
    } else if (!dropped) {
      return;
    }
  }
}

void Shrinker::Simplify() {
  for (size_t i = 0; i < best_.size() && !Expired(); i++) {
    std::vector<Op> simpler(best_);
    // One observation at a time; the one which sees the difference stays.
    for (uint8_t bit = 1; bit <= kObsWalk;
         bit = static_cast<uint8_t>(bit << 1)) {
      if (i >= best_.size() || (best_[i].obs & bit) == 0) continue;
      simpler = best_;
      simpler[i].obs = static_cast<uint8_t>(simpler[i].obs & ~bit);
      Try(simpler);
    }
    if (i >= best_.size()) return;
    simpler = best_;
    if (simpler[i].ident != 0) {
      // Descriptors belong to an identity, so all of it moves at once.
      uint8_t who = simpler[i].ident;
      for (Op& other : simpler) {
        if (other.ident == who) other.ident = 0;
      }
      Try(simpler);
    }
  }
}

void Shrinker::Run(std::vector<Op>* ops, Difference* diff) {
  deadline_ = time(nullptr) + kMaxSeconds;
  auto adopt = [&](const Difference& d, const std::vector<Op>& seq) {
    first_ = d;
    kind_ =
        d.step < static_cast<int>(seq.size()) ? seq[d.step].kind : Kind::kCount;
  };
  // Watching everything finds the step which did the damage, but it may also
  // refresh the very caches whose staleness is the fault.
  std::vector<Op> watched(*ops);
  for (Op& op : watched) op.obs |= kObsStat | kObsWalk;
  runs_++;
  Difference early = RunOps(session_, watched);
  if (early.found() && !early.fatal) {
    adopt(early, watched);
    best_ = watched;
  } else {
    adopt(*diff, *ops);
    best_ = *ops;
  }
  best_diff_ = first_;
  if (!Try(std::vector<Op>(best_))) return;
  reproduced_ = true;
  DropChunks();
  Simplify();
  // Fewer observations may allow fewer steps.
  if (best_.size() <= 24) DropChunks();
  *ops = best_;
  *diff = best_diff_;
}

void PrintReport(const std::vector<Op>& ops, const Difference& diff) {
  size_t end = std::min(ops.size(), static_cast<size_t>(diff.step) + 1);
  printf("# ---- replay ----\n");
  for (size_t i = 0; i < end; i++) {
    std::string text = FormatOp(ops[i]), what = DescribeOp(ops[i]);
    printf("%s%s%s\n", text.c_str(), what.empty() ? "" : "  # ", what.c_str());
  }
  printf("# ---- difference in %s%s ----\n", diff.where.c_str(),
         diff.step < static_cast<int>(ops.size()) ? "" : ", at the end");
  int shown = 0;
  for (const DiffRow& row : diff.rows) {
    if (++shown > 24) {
      printf("#   and %zu more\n", diff.rows.size() - 24);
      break;
    }
    printf("#   %s%s%s\n#     left   %s\n#     right  %s\n",
           Clip(row.label).c_str(), row.label.empty() ? "" : " ",
           TagName(row.tag), Clip(row.left).c_str(), Clip(row.right).c_str());
  }
  fflush(stdout);
}

}  // namespace oracle
