#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "daemon/stats/report.h"

namespace handlefs {
namespace {

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

std::string Label(std::string_view name, std::string_view value) {
  return absl::StrCat(
      std::string(name), "=\"",
      absl::StrReplaceAll(std::string(value),
                          {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}),
      "\"");
}

// The text of metrics, each with the label of the mount.
class Exposition {
 public:
  explicit Exposition(const std::string& mount)
      : mount_(Label("mount", mount)) {}

  enum class Type { kCounter, kGauge, kHistogram };
  void Family(std::string_view name, Type type, std::string_view help) {
    constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
    name_ = name;
    absl::StrAppend(&text_, "# HELP ", name_, " ", std::string(help), "\n",
                    "# TYPE ", name_, " ", kTypes[static_cast<int>(type)],
                    "\n");
  }
  // Of the family that was begun; `suffix` is that of a histogram's parts.
  void Sample(const std::string& value, const std::string& labels = "",
              const char* suffix = "") {
    absl::StrAppend(&text_, name_, suffix, "{", mount_,
                    labels.empty() ? "" : ",", labels, "} ", value, "\n");
  }
  void One(std::string_view name, Type type, std::string_view help,
           double value) {
    Family(name, type, help);
    Sample(Number(value));
  }
  void One(std::string_view name, Type type, std::string_view help,
           uint64_t value) {
    Family(name, type, help);
    Sample(absl::StrCat(value));
  }
  std::string text() && { return std::move(text_); }

 private:
  const std::string mount_;
  std::string name_;
  std::string text_;
};

using Type = Exposition::Type;

void PutRequests(Exposition& out, const StatsSum& sum) {
  out.Family("handlefs_requests_total", Type::kCounter,
             "Requests that were answered, by operation and result.");
  for (size_t row = 0; row < sum.ops.size(); ++row) {
    const StatsSum::Op& op = sum.ops[row];
    if (op.count() == 0) continue;
    const std::string label = Label("op", OpName(row));
    // Counted apart while requests end: never less than nothing.
    const uint64_t failed = std::min(op.failed(), op.count());
    out.Sample(absl::StrCat(op.count() - failed),
               absl::StrCat(label, ",", Label("result", "ok")));
    for (size_t e = 0; e < kStatErrors; ++e) {
      if (op.errors[e] == 0) continue;
      out.Sample(absl::StrCat(op.errors[e]),
                 absl::StrCat(label, ",", Label("result", ErrorName(e))));
    }
  }
  out.Family("handlefs_request_seconds", Type::kHistogram,
             "Time from reading a request to its answer, by operation.");
  for (size_t row = 0; row < sum.ops.size(); ++row) {
    const StatsSum::Op& op = sum.ops[row];
    if (op.count() == 0) continue;
    const std::string label = Label("op", OpName(row));
    uint64_t below = 0;
    for (size_t b = 0; b < kBuckets; ++b) {
      below += op.buckets[b];
      const std::string limit =
          b < kBucketLimits.size()
              ? Number(static_cast<double>(kBucketLimits[b]) / 1e9)
              : "+Inf";
      out.Sample(absl::StrCat(below),
                 absl::StrCat(label, ",", Label("le", limit)), "_bucket");
    }
    out.Sample(Number(static_cast<double>(op.nanoseconds) / 1e9), label,
               "_sum");
    out.Sample(absl::StrCat(below), label, "_count");
  }
}

void PutInFlight(Exposition& out, const StatsReport& report) {
  out.Family("handlefs_in_flight", Type::kGauge,
             "Requests in the server's hands, by where they are.");
  for (Whereabouts where : {Whereabouts::kThread, Whereabouts::kQueued,
                            Whereabouts::kPool, Whereabouts::kLock}) {
    uint64_t count = 0;
    for (const InFlight& one : report.sum.in_flight)
      count += one.where == where;
    out.Sample(absl::StrCat(count), Label("where", NameOf(where)));
  }
  double oldest = 0;
  for (const InFlight& one : report.sum.in_flight) {
    // Locks may wait for as long as their holders like.
    if (one.where == Whereabouts::kLock) continue;
    oldest = std::max(oldest, static_cast<double>(one.age_ns) / 1e9);
  }
  out.One("handlefs_oldest_request_seconds", Type::kGauge,
          "Age of the oldest request in flight that does not wait for a lock.",
          oldest);
  if (report.waiting) {
    out.One("handlefs_waiting", Type::kGauge,
            "Requests that the kernel waits for.", *report.waiting);
  }
}

}  // namespace

std::string ToPrometheus(const StatsReport& report) {
  const StatsSum& sum = report.sum;
  Exposition out(report.mount_point);
  out.Family("handlefs_info", Type::kGauge, "The version; always 1.");
  out.Sample("1", Label("version", HANDLEFS_VERSION));
  PutRequests(out, sum);
  PutInFlight(out, report);
  out.One("handlefs_read_bytes_total", Type::kCounter,
          "Bytes read through the server, not in passthrough.", sum.bytes_read);
  out.One("handlefs_written_bytes_total", Type::kCounter,
          "Bytes written through the server, not in passthrough.",
          sum.bytes_written);
  out.One("handlefs_offloaded_total", Type::kCounter,
          "Requests given to the pool because they may wait.", sum.offloaded);
  out.One("handlefs_malformed_total", Type::kCounter,
          "Messages that were no request.", sum.malformed);
  out.One("handlefs_dropped_answers", Type::kGauge,
          "Requests that the server forgot to answer; always a bug.",
          sum.gauges.dropped_tokens);
  out.One("handlefs_open_files", Type::kGauge, "Open files and directories.",
          sum.gauges.open_files);
  out.One("handlefs_nodes", Type::kGauge, "Files that are kept in memory.",
          sum.gauges.nodes);
  out.One("handlefs_node_bytes", Type::kGauge, "Memory of these.",
          sum.gauges.node_bytes);
  out.One("handlefs_node_descriptors", Type::kGauge, "Descriptors of these.",
          sum.gauges.node_descriptors);
  out.One("handlefs_pins", Type::kGauge,
          "Removed files that are kept while they are in use.",
          sum.gauges.pins);
  out.One("handlefs_lock_waiters", Type::kGauge,
          "Requests that wait for a lock.", sum.gauges.lock_waiters);
  if (report.server) {
    out.One("handlefs_descriptors", Type::kGauge,
            "Open descriptors of the server.", report.server->descriptors);
    out.One("handlefs_descriptor_limit", Type::kGauge, "Limit of these.",
            report.server->descriptor_limit);
    out.One("handlefs_resident_bytes", Type::kGauge, "Memory of the server.",
            report.server->resident_bytes);
    out.One("handlefs_cpu_seconds_total", Type::kCounter,
            "Processor time of the present server.",
            report.server->cpu_seconds);
  }
  out.One("handlefs_servers_total", Type::kCounter,
          "Servers that were started for the mount.", report.generation);
  out.One("handlefs_crashes_total", Type::kCounter, "Servers that died.",
          report.crashes);
  out.One("handlefs_kept_descriptors", Type::kGauge,
          "Descriptors that the keeper holds.", report.kept_descriptors);
  out.One("handlefs_state_bytes", Type::kGauge,
          "Records of what outlives a server.", report.state_bytes);
  if (!sum.fallbacks.empty()) {
    out.Family("handlefs_fallbacks_total", Type::kCounter,
               "Features that are not to be had, and why.");
    for (const Fallback& one : sum.fallbacks) {
      out.Sample(absl::StrCat(one.count),
                 absl::StrCat(Label("feature", one.feature), ",",
                              Label("reason", one.reason)));
    }
  }
  return std::move(out).text();
}

}  // namespace handlefs
