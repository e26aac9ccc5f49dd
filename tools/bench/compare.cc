#include "compare.h"

#include <algorithm>

#include "table.h"
#include "text.h"

namespace handlefs::bench {
namespace {

constexpr size_t kEnough = 3;
// Figures of the memory workload that are compared as they are. Differences of
// less than this many bytes for each file are pages that come and go.
constexpr const char* kPlainFigures[] = {"rss", "descriptors"};
constexpr double kSmallest[] = {2.0, 0.01};

Verdict Judge(const Spread& before, const Spread& after, double threshold) {
  if (before.count < kEnough || after.count < kEnough) return Verdict::kTooFew;
  if (after.median > before.max && before.median < after.min &&
      after.median > before.median * (1 + threshold)) {
    return Verdict::kSlower;
  }
  if (after.median < before.min && before.median > after.max &&
      before.median > after.median * (1 + threshold)) {
    return Verdict::kFaster;
  }
  return Verdict::kWithinNoise;
}

void Add(Comparison row, std::optional<Spread> before,
         std::optional<Spread> after, double threshold, double smallest,
         std::vector<Comparison>* out) {
  if (!before || !after) return;
  row.before = before;
  row.after = after;
  row.verdict = Judge(*before, *after, threshold);
  if (std::abs(after->median - before->median) < smallest &&
      row.verdict != Verdict::kTooFew) {
    row.verdict = Verdict::kWithinNoise;
  }
  out->push_back(std::move(row));
}

void CompareCells(const Results& before, const Results& after, const Cell& cell,
                  double threshold, std::vector<Comparison>* out) {
  const Cell* now = after.Find(cell.workload, cell.system);
  if (now == nullptr) return;
  Comparison row{
      .workload = cell.workload, .system = cell.system, .figure = "ratio"};
  if (cell.outcome == Outcome::kMeasured && now->outcome == Outcome::kFailed) {
    row.verdict = Verdict::kBroken;
    row.reason = now->reason;
    out->push_back(row);
    return;
  }
  if (cell.outcome == Outcome::kFailed && now->outcome == Outcome::kMeasured) {
    row.verdict = Verdict::kRepaired;
    out->push_back(row);
    return;
  }
  if (cell.outcome != Outcome::kMeasured ||
      now->outcome != Outcome::kMeasured || cell.system == kNative) {
    return;
  }
  const Cell* base = before.Find(cell.workload, kNative);
  const Cell* base_now = after.Find(cell.workload, kNative);
  if (base != nullptr && base_now != nullptr) {
    Add(row, SpreadOf(RatiosTo(*base, cell)),
        SpreadOf(RatiosTo(*base_now, *now)), threshold, 0, out);
  }
  for (size_t i = 0; i < std::size(kPlainFigures); ++i) {
    row.figure = kPlainFigures[i];
    Add(row, SpreadOf(ExtraOf(cell, row.figure)),
        SpreadOf(ExtraOf(*now, row.figure)), threshold, kSmallest[i], out);
  }
}

std::string Show(const std::optional<Spread>& spread) {
  if (!spread) return "";
  return Number(spread->median) + " (" + Number(spread->min) + "-" +
         Number(spread->max) + ")";
}

}  // namespace

std::string_view NameOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kWithinNoise:
      return "within the noise";
    case Verdict::kSlower:
      return "WORSE";
    case Verdict::kFaster:
      return "better";
    case Verdict::kTooFew:
      return "too few repetitions";
    case Verdict::kBroken:
      return "FAILS NOW";
    case Verdict::kRepaired:
      return "works now";
  }
  return "";
}

std::vector<Comparison> Compare(const Results& before, const Results& after,
                                double threshold) {
  std::vector<Comparison> out;
  for (const Cell& cell : before.cells) {
    CompareCells(before, after, cell, threshold, &out);
  }
  return out;
}

bool HasRegression(const std::vector<Comparison>& comparisons) {
  return std::any_of(comparisons.begin(), comparisons.end(),
                     [](const Comparison& row) {
                       return row.verdict == Verdict::kSlower ||
                              row.verdict == Verdict::kBroken;
                     });
}

std::string RenderComparison(const std::vector<Comparison>& comparisons) {
  Table table(
      {"workload", "system", "figure", "before", "after", "change", "verdict"});
  for (const Comparison& row : comparisons) {
    std::string change;
    if (row.before && row.after && row.before->median > 0) {
      change = Format("%+.0f %%",
                      (row.after->median / row.before->median - 1) * 100);
    }
    std::string verdict(NameOf(row.verdict));
    if (!row.reason.empty()) verdict += ": " + row.reason;
    table.Add({row.workload, row.system, row.figure, Show(row.before),
               Show(row.after), change, verdict});
  }
  return table.Render();
}

}  // namespace handlefs::bench
