#include "results.h"

namespace handlefs::bench {

const Cell* Results::Find(std::string_view workload,
                          std::string_view system) const {
  for (const Cell& cell : cells) {
    if (cell.workload == workload && cell.system == system) return &cell;
  }
  return nullptr;
}

Cell& Results::At(const std::string& workload, const std::string& system) {
  if (const Cell* cell = Find(workload, system)) {
    return const_cast<Cell&>(*cell);
  }
  return cells.emplace_back(Cell{.workload = workload, .system = system});
}

std::string_view NameOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kMeasured:
      return "measured";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kUnsupported:
      return "unsupported";
    case Outcome::kNotReached:
      return "not reached";
  }
  return "";
}

}  // namespace handlefs::bench
