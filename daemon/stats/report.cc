#include "daemon/stats/report.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

using Json = nlohmann::ordered_json;

// Linux 6.2 tells their number as the directory's size.
uint64_t CountDescriptors(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/fd");
  struct stat st;
  if (stat(path.c_str(), &st) == 0 && st.st_size > 0) {
    return static_cast<uint64_t>(st.st_size);
  }
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(dir);
  return count;
}

double Microseconds(double nanoseconds) {
  // Of a microsecond no more than a tenth is known.
  return std::round(nanoseconds / 100) / 10;
}

double SecondsSince(int64_t began_ns) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const double then = static_cast<double>(began_ns) / 1e9;
  return std::max(static_cast<double>(now.tv_sec) +
                      static_cast<double>(now.tv_nsec) / 1e9 - then,
                  0.0);
}

Json OpJson(const std::string& name, const StatsSum::Op& op) {
  Json errors = Json::object();
  for (size_t e = 0; e < kStatErrors; ++e) {
    if (op.errors[e] != 0) errors[ErrorName(e)] = op.errors[e];
  }
  const auto count = static_cast<double>(op.count());
  Json out = {
      {"op", name},
      {"count", op.count()},
      {"errors", op.failed()},
      {"p50_us", Microseconds(Quantile(op.buckets, 0.5))},
      {"p99_us", Microseconds(Quantile(op.buckets, 0.99))},
      {"mean_us", Microseconds(static_cast<double>(op.nanoseconds) / count)},
      {"seconds", static_cast<double>(op.nanoseconds) / 1e9},
      {"by_error", errors},
      {"buckets", op.buckets}};
  return out;
}

}  // namespace

std::optional<ProcessStats> ReadProcess(pid_t pid) {
  std::ifstream statm(absl::StrCat("/proc/", pid, "/statm"));
  uint64_t size = 0, resident = 0;
  if (pid <= 0 || !(statm >> size >> resident)) return std::nullopt;
  ProcessStats out{.pid = pid};
  out.resident_bytes = resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  out.descriptors = CountDescriptors(pid);
  struct rlimit limit;
  if (prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0) {
    out.descriptor_limit = limit.rlim_cur;
  }
  std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(stat, text);
  // The name in parentheses may have blanks; user and system time follow as the
  // 12th and 13th word behind it.
  if (size_t end = text.rfind(')'); end != std::string::npos) {
    std::istringstream words(text.substr(end + 1));
    std::string word;
    for (int i = 0; i < 11; ++i) words >> word;
    uint64_t user = 0, system = 0;
    words >> user >> system;
    out.cpu_seconds = static_cast<double>(user + system) /
                      static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return out;
}

std::string ErrorName(size_t error) {
  if (error == 0) return "other";
  if (const char* name = strerrorname_np(static_cast<int>(error))) return name;
  return absl::StrCat("E", error);
}

std::string OpName(size_t row) {
  if (row >= proto::kOpRows) return "UNKNOWN";
  return std::string(proto::kOpTable[row].name);
}

Json InFlightJson(const StatsSum& sum) {
  Json out = Json::array();
  for (const InFlight& one : sum.in_flight) {
    out.push_back({{"op", OpName(proto::RowIndex(one.opcode))},
                   {"unique", one.unique},
                   {"node", one.node},
                   {"age_seconds", static_cast<double>(one.age_ns) / 1e9},
                   {"where", std::string(NameOf(one.where))}});
  }
  return out;
}

Json ToJson(const StatsReport& report) {
  const StatsSum& sum = report.sum;
  Json out = {{"ok", true},
              {"mount_point", report.mount_point},
              {"counted_seconds", SecondsSince(report.began_ns)},
              {"generation", report.generation},
              {"crashes", report.crashes}};
  uint64_t requests = 0, errors = 0;
  std::array<uint64_t, kStatErrors> by_error{};
  Json ops = Json::array();
  for (size_t row = 0; row < sum.ops.size(); ++row) {
    const StatsSum::Op& op = sum.ops[row];
    if (op.count() == 0) continue;
    requests += op.count();
    errors += op.failed();
    for (size_t e = 0; e < kStatErrors; ++e) by_error[e] += op.errors[e];
    ops.push_back(OpJson(OpName(row), op));
  }
  out["requests"] = requests;
  out["errors"] = errors;
  out["bytes_read"] = sum.bytes_read;
  out["bytes_written"] = sum.bytes_written;
  out["offloaded"] = sum.offloaded;
  out["malformed"] = sum.malformed;
  if (report.waiting) out["waiting"] = *report.waiting;
  out["open_files"] = sum.gauges.open_files;
  out["nodes"] = sum.gauges.nodes;
  out["node_bytes"] = sum.gauges.node_bytes;
  out["node_descriptors"] = sum.gauges.node_descriptors;
  out["pins"] = sum.gauges.pins;
  out["lock_waiters"] = sum.gauges.lock_waiters;
  out["dropped_answers"] = sum.gauges.dropped_tokens;
  if (report.server) {
    out["server"] = report.server->pid;
    out["descriptors"] = report.server->descriptors;
    out["descriptor_limit"] = report.server->descriptor_limit;
    out["memory_bytes"] = report.server->resident_bytes;
    out["cpu_seconds"] = report.server->cpu_seconds;
  }
  out["kept_descriptors"] = report.kept_descriptors;
  out["state_bytes"] = report.state_bytes;
  Json all = Json::object();
  for (size_t e = 0; e < kStatErrors; ++e) {
    if (by_error[e] != 0) all[ErrorName(e)] = by_error[e];
  }
  out["by_error"] = all;
  out["bucket_limits_ns"] = kBucketLimits;
  out["ops"] = ops;
  out["in_flight"] = InFlightJson(sum);
  Json fallbacks = Json::array();
  for (const Fallback& one : sum.fallbacks) {
    fallbacks.push_back({{"feature", one.feature},
                         {"reason", one.reason},
                         {"count", one.count}});
  }
  out["fallbacks"] = fallbacks;
  return out;
}

}  // namespace handlefs
