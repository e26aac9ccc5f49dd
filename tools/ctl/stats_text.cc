#include "stats_text.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace handlefs::ctl {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

constexpr size_t kMostInFlight = 20;

// The first column to the left, all others to the right.
std::string Table(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string out;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      if (i == 0) {
        absl::StrAppend(&out, row[i], row.size() == 1 ? "" : blanks);
      } else {
        absl::StrAppend(&out, "  ", blanks, row[i]);
      }
    }
    out += '\n';
  }
  return out;
}

uint64_t Count(const Json& object, const char* key) {
  return object.value(key, uint64_t{0});
}

// "ENOENT 12, EACCES 1": the most frequent first.
std::string Errors(const Json& by_error, size_t most) {
  std::vector<std::pair<uint64_t, std::string>> errors;
  for (const auto& [name, count] : by_error.items()) {
    errors.emplace_back(count.get<uint64_t>(), name);
  }
  std::stable_sort(
      errors.begin(), errors.end(),
      [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string out;
  for (size_t i = 0; i < std::min(errors.size(), most); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ", ", errors[i].second, " ",
                    errors[i].first);
  }
  if (errors.size() > most) out += ", ...";
  return out;
}

std::string Summary(const Json& answer) {
  std::vector<Row> rows;
  auto put = [&](const std::string& name, const std::string& value) {
    rows.push_back({absl::StrCat(name, ":"), value});
  };
  put("mount point", answer.value("mount_point", ""));
  put("counted for", ShortTime(answer.value("counted_seconds", 0.0)));
  put("servers", absl::StrCat(Count(answer, "generation"), ", ",
                              Count(answer, "crashes"), " crashed"));
  const uint64_t errors = Count(answer, "errors");
  put("requests",
      absl::StrCat(
          Count(answer, "requests"), ", ", errors, " with an error",
          errors == 0
              ? ""
              : absl::StrCat(" (", Errors(answer["by_error"], 6), ")")));
  put("through the server",
      absl::StrCat(ShortBytes(Count(answer, "bytes_read")), " read, ",
                   ShortBytes(Count(answer, "bytes_written")), " written"));
  put("given to the pool", absl::StrCat(Count(answer, "offloaded")));
  if (answer.contains("waiting")) {
    put("waiting", absl::StrCat(Count(answer, "waiting")));
  }
  put("open files", absl::StrCat(Count(answer, "open_files")));
  put("nodes in memory",
      absl::StrCat(Count(answer, "nodes"), ", ",
                   ShortBytes(Count(answer, "node_bytes")), ", ",
                   Count(answer, "node_descriptors"), " with a descriptor"));
  put("pins", absl::StrCat(Count(answer, "pins")));
  put("waiting for locks", absl::StrCat(Count(answer, "lock_waiters")));
  if (answer.contains("descriptors")) {
    put("descriptors",
        absl::StrCat(Count(answer, "descriptors"), " of ",
                     Count(answer, "descriptor_limit"), ", ",
                     Count(answer, "kept_descriptors"), " with the keeper"));
    put("memory",
        absl::StrCat(ShortBytes(Count(answer, "memory_bytes")), ", ",
                     ShortBytes(Count(answer, "state_bytes")), " of state"));
    put("processor time", ShortTime(answer.value("cpu_seconds", 0.0)));
  } else {
    put("server", "none just now");
  }
  for (const char* bug : {"malformed", "dropped_answers"}) {
    if (Count(answer, bug) != 0) put(bug, absl::StrCat(Count(answer, bug)));
  }
  // Values stand below each other, to the left.
  size_t width = 0;
  for (const Row& row : rows) width = std::max(width, row[0].size());
  std::string out;
  for (const Row& row : rows) {
    absl::StrAppend(&out, row[0], std::string(width - row[0].size() + 1, ' '),
                    row[1], "\n");
  }
  return out;
}

std::string Operations(const Json& ops) {
  std::vector<const Json*> sorted;
  for (const Json& op : ops) sorted.push_back(&op);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Json* a, const Json* b) {
                     return Count(*a, "count") > Count(*b, "count");
                   });
  std::vector<Row> rows = {
      {"operation", "count", "errors", "p50", "p99", "mean", "total"}};
  for (const Json* op : sorted) {
    auto time = [&](const char* key) {
      return ShortTime(op->value(key, 0.0) / 1e6);
    };
    Row row = {op->value("op", ""),
               absl::StrCat(Count(*op, "count")),
               absl::StrCat(Count(*op, "errors")),
               time("p50_us"),
               time("p99_us"),
               time("mean_us"),
               ShortTime(op->value("seconds", 0.0))};
    rows.push_back(std::move(row));
  }
  return Table(rows);
}

std::string InFlight(const Json& in_flight) {
  std::vector<Row> rows = {{"in flight", "age", "where", "node", "unique"}};
  for (const Json& one : in_flight) {
    if (rows.size() > kMostInFlight) break;
    rows.push_back({one.value("op", ""),
                    ShortTime(one.value("age_seconds", 0.0)),
                    one.value("where", ""), absl::StrCat(Count(one, "node")),
                    absl::StrCat(Count(one, "unique"))});
  }
  std::string out = Table(rows);
  if (in_flight.size() > kMostInFlight) {
    absl::StrAppend(&out, "and ", in_flight.size() - kMostInFlight, " more\n");
  }
  return out;
}

}  // namespace

std::string ShortTime(double seconds) {
  constexpr std::pair<double, const char*> kUnits[] = {
      {1, "s"}, {1e-3, "ms"}, {1e-6, "us"}};
  char text[32];
  if (seconds <= 0) return "0";
  if (seconds >= 1000) {
    std::snprintf(text, sizeof(text), "%.0f s", seconds);
    return text;
  }
  for (const auto& [unit, name] : kUnits) {
    // What would be rounded to 1000 is one of the next unit.
    if (seconds < 0.9995 * unit && unit != 1e-6) continue;
    const double value = seconds / unit;
    const int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    std::snprintf(text, sizeof(text), "%.*f %s", digits, value, name);
    return text;
  }
  return "0";
}

std::string ShortBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value,
                kUnits[unit]);
  return text;
}

std::string StatsText(const Json& answer) {
  std::string out = Summary(answer);
  for (const Json& one : answer.value("fallbacks", Json::array())) {
    absl::StrAppend(&out, "not used: ", one.value("feature", ""), ": ",
                    one.value("reason", ""), "\n");
  }
  const Json ops = answer.value("ops", Json::array());
  if (!ops.empty()) absl::StrAppend(&out, "\n", Operations(ops));
  const Json in_flight = answer.value("in_flight", Json::array());
  if (!in_flight.empty()) absl::StrAppend(&out, "\n", InFlight(in_flight));
  return out;
}

}  // namespace handlefs::ctl
