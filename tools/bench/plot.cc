#include "plot.h"

#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "statistics.h"
#include "text.h"

namespace handlefs::bench {
namespace {

// Distinguishable also by those who see few colours.
constexpr const char* kColours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                    "#56b4e9", "#d55e00", "#f0e442", "#666666",
                                    "#882255", "#44aa99", "#999933", "#332288"};
const char* Colour(size_t i) { return kColours[i % std::size(kColours)]; }

// As a gnuplot string without markup: between single quotes.
std::string Quoted(const std::string& text) {
  return "'" + Replace(text, "'", "''") + "'";
}

std::string Head(const std::string& output, int width, int height) {
  bool png = output.ends_with(".png");
  return Format("set terminal %s size %d,%d %s font 'sans,12' noenhanced\n",
                png ? "pngcairo" : "svg", width, height,
                png ? "" : "background '#ffffff'") +
         "set output " + Quoted(output) + "\n";
}

struct Bar {
  double y;
  Spread spread;
};

constexpr int kBarPixels = 13;
constexpr int kMargin = 120;
constexpr int kKeyPixels = 18;  // of a line in the key
// Beyond this a bar says no more than "very much".
constexpr double kHighest = 10000;
constexpr double kLowest = 0.01;

double Clamp(double value) { return std::clamp(value, kLowest, kHighest); }

}  // namespace

std::string RatioScript(const Results& results, const std::string& output) {
  std::vector<std::string> systems;
  for (const SystemInfo& system : results.systems) {
    systems.push_back(system.name);
  }
  // From the top: a row for each bar that exists, one free between workloads.
  std::vector<std::vector<Bar>> bars(systems.size());
  std::string labels;
  double y = 0, lowest = 1, highest = 1;
  for (const WorkloadInfo& workload : results.workloads) {
    const Cell* base = results.Find(workload.name, kNative);
    if (base == nullptr) continue;
    double top = y;
    for (size_t s = 0; s < systems.size(); ++s) {
      if (systems[s] == kNative) continue;
      const Cell* cell = results.Find(workload.name, systems[s]);
      if (cell == nullptr || cell->outcome != Outcome::kMeasured) continue;
      auto spread = SpreadOf(RatiosTo(*base, *cell));
      if (!spread || spread->median <= 0) continue;
      bars[s].push_back({y, *spread});
      lowest = std::min(lowest, spread->min);
      highest = std::max(highest, spread->max);
      y += 1;
    }
    if (y == top) continue;
    labels += (labels.empty() ? "" : ", ") + Quoted(workload.name) +
              Format(" %.1f", -(top + (y - top - 1) / 2));
    y += 1;
  }
  if (labels.empty()) return "";
  std::string script = Head(output, 1000,
                            kMargin + static_cast<int>(y) * kBarPixels +
                                static_cast<int>(systems.size()) * kKeyPixels);
  script +=
      "set title 'time per operation, ratio to native (less is better)'\n";
  script += "set logscale xx2\nset grid x lt 1 lc rgb '#dddddd'\n";
  for (const char* axis : {"x", "x2"}) {
    script += Format("set %srange [%g:%g]\n", axis, Clamp(lowest) / 1.3,
                     Clamp(highest) * 1.3);
  }
  script += Format("set yrange [%g:1]\n", -y);
  script += "set ytics (" + labels + ") scale 0\nset x2tics\n";
  script += "set style fill solid 1 noborder\n";
  script +=
      "set key tmargin left Left reverse vertical maxcols 3 samplen "
      "2\n";
  script +=
      "set arrow 1 from 1, graph 0 to 1, graph 1 nohead lc rgb '#000000'\n";
  std::string plots, data;
  for (size_t s = 0; s < systems.size(); ++s) {
    if (bars[s].empty()) continue;
    data += Format("$d%zu << EOD\n", s);
    for (const Bar& bar : bars[s]) {
      data += Format("%g %g %g %g\n", -bar.y, Clamp(bar.spread.median),
                     Clamp(bar.spread.min), Clamp(bar.spread.max));
    }
    data += "EOD\n";
    plots += (plots.empty() ? "plot " : ", \\\n  ") +
             Format(
                 "$d%zu using 2:1:(1):2:($1-0.42):($1+0.42) with "
                 "boxxyerror lc rgb '%s' title ",
                 s, Colour(s)) +
             Quoted(systems[s]);
    plots += Format(
        ", \\\n  $d%zu using 2:1:3:4 with xerrorbars pt 0 lw 1 lc rgb "
        "'#333333' notitle",
        s);
  }
  return script + data + plots + "\n";
}

std::string FilesScript(const Results& results, const std::string& output) {
  struct Line {
    std::map<uint64_t, double> memory, time;
  };
  std::map<std::string, Line> lines;
  std::set<uint64_t> numbers;
  for (const Cell& cell : results.cells) {
    constexpr std::string_view kPrefix = "files-";
    if (!cell.workload.starts_with(kPrefix) ||
        cell.outcome != Outcome::kMeasured) {
      continue;
    }
    uint64_t count = 0;
    std::from_chars(cell.workload.data() + kPrefix.size(),
                    cell.workload.data() + cell.workload.size(), count);
    auto time = SpreadOf(ValuesOf(cell));
    auto memory = SpreadOf(ExtraOf(cell, "rss"));
    if (count == 0 || !time) continue;
    lines[cell.system].time[count] = time->median;
    // The scale is logarithmic from one byte on: less is nothing.
    if (memory) {
      lines[cell.system].memory[count] = std::max(1.0, memory->median);
    }
    numbers.insert(count);
  }
  if (lines.empty()) return "";
  std::vector<std::string> counts;
  counts.reserve(numbers.size());
  for (uint64_t count : numbers) {
    counts.push_back(Format("%llu", static_cast<unsigned long long>(count)));
  }
  std::string script =
      Head(output, 1000, 450 + static_cast<int>(lines.size()) * kKeyPixels);
  script += "set multiplot layout 1,2\nset logscale xy\n";
  script += "set grid lt 1 lc rgb '#dddddd'\nset xlabel 'files'\n";
  script +=
      "set format x '%.0f'\nset key tmargin left Left reverse "
      "vertical samplen 2\n";
  script += "set xtics (" + Join(counts, ", ") + ")\n";
  script += Format("set xrange [%g:%g]\n",
                   static_cast<double>(*numbers.begin()) / 1.5,
                   static_cast<double>(*numbers.rbegin()) * 1.5);
  std::string data, memory_plots, time_plots;
  size_t s = 0;
  auto add = [&](const std::map<uint64_t, double>& points, const char* kind,
                 const std::string& system, std::string* plots) {
    if (points.empty()) return;
    data += Format("$%s%zu << EOD\n", kind, s);
    for (const auto& [count, value] : points) {
      data +=
          Format("%llu %g\n", static_cast<unsigned long long>(count), value);
    }
    data += "EOD\n";
    *plots += (plots->empty() ? "plot " : ", ") +
              Format(
                  "$%s%zu with linespoints pt 7 ps 0.6 lw 2 lc rgb '%s' "
                  "title ",
                  kind, s, Colour(s - 1)) +
              Quoted(system);
  };
  // In the colours of the other plot; native has no server.
  for (const SystemInfo& system : results.systems) {
    ++s;
    auto found = lines.find(system.name);
    if (found == lines.end()) continue;
    if (system.name != kNative) {
      add(found->second.memory, "memory", system.name, &memory_plots);
    }
    add(found->second.time, "time", system.name, &time_plots);
  }
  script += data;
  if (!memory_plots.empty()) {
    script +=
        "set ylabel 'memory of the server, bytes per file'\n"
        "set yrange [1:*]\n" +
        memory_plots + "\n";
  }
  script += "set ylabel 'cold walk, us per file'\nset yrange [*:*]\n" +
            time_plots + "\nunset multiplot\n";
  return script;
}

std::optional<std::string> RunGnuplot(const std::string& script) {
  constexpr char kCure[] =
      "plot: gnuplot cannot be run: apt-get install gnuplot-nox, or keep the "
      "results with --json and draw them elsewhere with handlefs-bench report";
  // NOLINTNEXTLINE(cert-env33-c): a fixed command, found in the user's PATH
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) return kCure;
  // NOLINTNEXTLINE(cert-env33-c)
  FILE* pipe = popen("gnuplot", "w");
  if (pipe == nullptr) return kCure;
  // If it ends early, its exit status tells.
  auto before = std::signal(SIGPIPE, SIG_IGN);
  std::fputs(script.c_str(), pipe);
  int status = pclose(pipe);
  std::signal(SIGPIPE, before);
  if (status != 0) {
    return std::string(
        "plot: gnuplot failed: its message is above; is the directory of the "
        "file writable?");
  }
  return std::nullopt;
}

}  // namespace handlefs::bench
