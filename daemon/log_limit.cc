#include "daemon/log_limit.h"

#include "absl/strings/str_cat.h"

namespace handlefs {

LogLimit::Verdict LogLimit::Judge(LogSite at, const LogMessage& message,
                                  absl::Time now) {
  Site& site = sites_[at];
  // Also when the clock was set back.
  if (now - site.since >= kWindow || now < site.since) {
    site.since = now;
    site.said = 0;
  }
  if (site.said < kBurst) {
    ++site.said;
    return site.said == kBurst ? Verdict::kSayLast : Verdict::kSay;
  }
  ++site.counted;
  site.last = message;
  return Verdict::kCount;
}

std::vector<LogMessage> LogLimit::TakeDue(absl::Time now) {
  std::vector<LogMessage> due;
  for (auto& [at, site] : sites_) {
    if (now - site.since >= kWindow || now < site.since) Take(site, due);
  }
  return due;
}

std::vector<LogMessage> LogLimit::TakeAll() {
  std::vector<LogMessage> all;
  for (auto& [at, site] : sites_) Take(site, all);
  return all;
}

void LogLimit::Take(Site& site, std::vector<LogMessage>& out) {
  if (site.counted == 0) return;
  if (site.counted > 1) {
    absl::StrAppend(&site.last.text, " ... and ", site.counted - 1,
                    " more like it");
  }
  out.push_back(std::move(site.last));
  site.last = {};
  site.counted = 0;
}

}  // namespace handlefs
