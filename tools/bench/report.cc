#include "report.h"

#include <algorithm>
#include <functional>

#include "statistics.h"
#include "table.h"
#include "text.h"

namespace handlefs::bench {
namespace {

constexpr char kRoundTrips[] = "round-trip";

std::string Show(const Spread& spread) {
  std::string text = "**" + Number(spread.median) + "**";
  if (spread.count > 1) {
    text += " (" + Number(spread.min) + "-" + Number(spread.max) + ")";
  }
  return text;
}

std::string ShowMissing(const Cell* cell) {
  if (cell == nullptr) return "";
  switch (cell->outcome) {
    case Outcome::kFailed:
      return "failed";
    case Outcome::kUnsupported:
      return "-";
    case Outcome::kNotReached:
      return "not reached";
    case Outcome::kMeasured:
      break;
  }
  return "";
}

bool IsFloor(const std::string& system) {
  return system.starts_with(kFloorPrefix);
}

using ShowCell = std::function<std::string(const Cell&)>;

// One row for each workload and one column for each system that are wanted.
// Rows without any cell to show are left out.
std::string Grid(const Results& results,
                 const std::function<bool(const WorkloadInfo&)>& row_wanted,
                 const std::function<bool(const std::string&)>& wanted,
                 const std::string& first_column, const ShowCell& show) {
  std::vector<std::string> head{first_column};
  for (const SystemInfo& system : results.systems) {
    if (wanted(system.name)) head.push_back(system.name);
  }
  Table table(head);
  for (const WorkloadInfo& workload : results.workloads) {
    if (!row_wanted(workload)) continue;
    std::vector<std::string> row{workload.name};
    bool any = false;
    for (size_t i = 1; i < head.size(); ++i) {
      const Cell* cell = results.Find(workload.name, head[i]);
      std::string text;
      if (cell != nullptr && cell->outcome == Outcome::kMeasured) {
        text = show(*cell);
      } else {
        text = ShowMissing(cell);
      }
      any |= !text.empty() && text != "-";
      row.push_back(text);
    }
    if (any) table.Add(row);
  }
  return table.size() > 0 && head.size() > 1 ? table.Render() : "";
}

std::string Section(const std::string& title, const std::string& body) {
  return body.empty() ? "" : "\n## " + title + "\n\n" + body;
}

bool Any(const WorkloadInfo&) { return true; }
bool AnySystem(const std::string&) { return true; }

std::string Ratios(const Results& results) {
  auto show = [&results](const Cell& cell) -> std::string {
    auto values = SpreadOf(ValuesOf(cell));
    if (!values) return "";
    std::string unit;
    for (const WorkloadInfo& workload : results.workloads) {
      if (workload.name == cell.workload) unit = workload.unit;
    }
    if (cell.system == kNative) return Number(values->median) + " " + unit;
    const Cell* base = results.Find(cell.workload, kNative);
    auto ratios = base != nullptr ? SpreadOf(RatiosTo(*base, cell))
                                  : std::optional<Spread>();
    return ratios ? Show(*ratios) : Number(values->median) + " " + unit;
  };
  return Grid(results, Any, AnySystem, "workload", show);
}

std::string Values(const Results& results) {
  return Grid(results, Any, AnySystem, "workload", [](const Cell& cell) {
    auto values = SpreadOf(ValuesOf(cell));
    return !values ? ""
                   : Number(values->median) + " [" + Number(values->min) + "]";
  });
}

std::string ToFloor(const Results& results) {
  std::string text;
  for (const SystemInfo& floor : results.systems) {
    if (!IsFloor(floor.name)) continue;
    auto show = [&](const Cell& cell) -> std::string {
      const Cell* base = results.Find(cell.workload, floor.name);
      if (base == nullptr || base->outcome != Outcome::kMeasured) return "";
      auto ratios = SpreadOf(RatiosTo(*base, cell));
      return ratios ? Show(*ratios) : "";
    };
    auto round_trip = [](const WorkloadInfo& workload) {
      return workload.group == kRoundTrips;
    };
    auto others = [](const std::string& system) {
      return system != kNative && !IsFloor(system);
    };
    text += Section("Round trips, ratio to " + floor.name,
                    Grid(results, round_trip, others, "workload", show));
  }
  return text;
}

std::string ServerCpu(const Results& results) {
  auto served = [](const std::string& system) { return system != kNative; };
  // Beside the neighbour, what the server does is mostly for that one.
  auto row = [](const WorkloadInfo& workload) {
    return workload.group != "neighbour";
  };
  return Grid(results, row, served, "us/op", [](const Cell& cell) {
    auto spread = SpreadOf(ServerCpuOf(cell));
    return spread ? Number(spread->median) : "";
  });
}

// Figures of the workloads that have them, as they are, of the systems that
// have any.
std::string Extra(const Results& results, const std::string& name,
                  const std::string& first_column) {
  auto has = [&](const std::string& system) {
    return std::any_of(
        results.cells.begin(), results.cells.end(), [&](const Cell& cell) {
          return cell.system == system && !ExtraOf(cell, name).empty();
        });
  };
  return Grid(results, Any, has, first_column, [&](const Cell& cell) {
    auto spread = SpreadOf(ExtraOf(cell, name));
    return spread ? Show(*spread) : "";
  });
}

std::string Failures(const Results& results) {
  std::string text;
  size_t not_reached = 0;
  for (const Cell& cell : results.cells) {
    not_reached += cell.outcome == Outcome::kNotReached;
  }
  if (not_reached > 0) {
    text += Format(
        "* %zu cells not reached: the run ended before "
        "(--time-limit, a signal)\n",
        not_reached);
  }
  for (const Cell& cell : results.cells) {
    if (cell.outcome == Outcome::kMeasured ||
        cell.outcome == Outcome::kNotReached || cell.reason.empty()) {
      continue;
    }
    text += "* " + cell.workload + ", " + cell.system + ": " +
            std::string(NameOf(cell.outcome)) + ": " + cell.reason + "\n";
  }
  return text;
}

std::string Facts(const std::vector<Fact>& facts) {
  std::string text;
  for (const Fact& fact : facts) {
    text += "* " + fact.name + ": " + fact.value + "\n";
  }
  return text;
}

}  // namespace

std::string RenderReport(const Results& results) {
  std::string text = "# handlefs-bench\n\n" + Facts(results.environment) +
                     Facts(results.settings);
  for (const SystemInfo& system : results.systems) {
    if (system.command.empty()) continue;
    text += "* " + system.name + ": `" + system.command + "`";
    if (!system.version.empty()) text += " (" + system.version + ")";
    text += "\n";
  }
  text += Section(
      "Time, ratio to native",
      "Median (min-max) of the ratios to native in the same repetition; less "
      "is better. native: the median itself.\n\n" +
          Ratios(results));
  text += ToFloor(results);
  text += Section("Time, median [min]", Values(results));
  text += Section("Server CPU", ServerCpu(results));
  text += Section("Memory of the server for each file, bytes",
                  Extra(results, "rss", "RSS"));
  text += Section("Descriptors of the server for each file",
                  Extra(results, "descriptors", "descriptors"));
  text += Section("Kernel memory for each file (fuse_inode), bytes",
                  Extra(results, "fuse_inode", "fuse_inode"));
  text += Section("Kernel memory for each file (dentry), bytes",
                  Extra(results, "dentry", "dentry"));
  text += Section("Beside an fsync neighbour, ratio to alone",
                  Extra(results, "over_alone", "workload"));
  text += Section("Not measured", Failures(results));
  return text;
}

}  // namespace handlefs::bench
