#include "report.h"

#include <catch2/catch.hpp>

#include "made.h"
#include "plot.h"
#include "progress.h"
#include "table.h"
#include "text.h"

namespace handlefs::bench {
namespace {

using test::MakeCell;
using test::MakeResults;

bool Has(const std::string& text, const std::string& part) {
  INFO(text);
  INFO("wanted: " << part);
  bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

// The text of one section.
std::string Section(const std::string& report, const std::string& title) {
  size_t begin = report.find("## " + title);
  if (begin == std::string::npos) return "";
  return report.substr(begin, report.find("\n## ", begin) - begin);
}

TEST_CASE("The report has ratios, failures and what cannot be measured") {
  std::string report = RenderReport(MakeResults());
  std::string ratios = Section(report, "Time, ratio to native");
  // 3/1, 4/2, 16/4 and 20/1, 80/2, 120/4.
  Has(ratios,
      "| getxattr-1 | 2.00 us/op | **2.00** (1.50-2.00) | **3.00** "
      "(2.00-4.00) | **30.0** (20.0-40.0) |");
  Has(ratios, "| stat-warm  | 1.00 us/op | -");
  Has(ratios, "| failed");
  Has(Section(report, "Not measured"),
      "* stat-warm, slow: failed: mount: refused");
  Has(report, "* kernel: 6.18");
  Has(report, "* fast: `fast {source} {mount}` (fast 1.0)");
}

TEST_CASE("What the time did not suffice for is counted") {
  Results results = MakeResults();
  results.At("stat-warm", "fast").outcome = Outcome::kNotReached;
  std::string report = RenderReport(results);
  Has(Section(report, "Not measured"), "* 1 cells not reached");
  Has(Section(report, "Time, ratio to native"), "| not reached");
}

TEST_CASE("Round trips are also compared with the floor") {
  std::string section =
      Section(RenderReport(MakeResults()), "Round trips, ratio to floor:dev");
  Has(section, "| workload   | fast                 | slow");
  // 3/2, 4/3, 16/8.
  Has(section, "| getxattr-1 | **1.50** (1.33-2.00) |");
  CHECK(section.find("stat-warm") == std::string::npos);
}

TEST_CASE("Server CPU has no column for native") {
  std::string section = Section(RenderReport(MakeResults()), "Server CPU");
  Has(section, "| us/op      | floor:dev | fast | slow   |");
  Has(section, "| getxattr-1 | 1.50      | 2.00 | 40.0   |");
}

TEST_CASE("Memory is shown for those who have it") {
  Results results = MakeResults();
  CHECK(Section(RenderReport(results), "Memory").empty());
  CHECK(Section(RenderReport(results), "Kernel memory").empty());
  results.cells[2].samples[0].extra["rss"] = 40;
  std::string section = Section(RenderReport(results), "Memory");
  Has(section, "| RSS        | fast     |");
  Has(section, "| getxattr-1 | **40.0** |");
}

TEST_CASE("A table keeps its shape whatever a cell holds") {
  Table table({"a", "b"});
  table.Add({"x|y", "two\nlines"});
  table.Add({"short"});
  CHECK(table.Render() ==
        "| a     | b         |\n"
        "|-------|-----------|\n"
        "| x/y   | two lines |\n"
        "| short |           |\n");
}

TEST_CASE("Numbers have three digits") {
  CHECK(Number(0) == "0");
  CHECK(Number(0.01234) == "0.0123");
  CHECK(Number(1.236) == "1.24");
  CHECK(Number(11.84) == "11.8");
  CHECK(Number(118.4) == "118");
  CHECK(Number(1234567) == "1234567");
}

TEST_CASE("The reason is the last line that says something") {
  CHECK(LastLine("first\n\x1b[31mlast\x1b[0m\n\n") == "last");
  CHECK(LastLine("\n\n").empty());
  CHECK(Split(",a,,b,", ',') == std::vector<std::string>{"a", "b"});
  CHECK(Replace("aXbX", "X", "XX") == "aXXbXX");
}

TEST_CASE("A plot has a bar for each ratio and the names of both") {
  std::string script = RatioScript(MakeResults(), "it's.svg");
  Has(script, "set output 'it''s.svg'");
  Has(script, "set terminal svg");
  Has(script, "set logscale x");
  Has(script, "'getxattr-1'");
  Has(script, "title 'slow'");
  // y, median, minimum, maximum; the failed cell has none.
  Has(script, "-1 3 2 4\n");
  Has(script, "-2 30 20 40\n");
  Has(RatioScript(MakeResults(), "x.png"), "set terminal pngcairo");
  Results nothing = MakeResults();
  nothing.cells.clear();
  CHECK(RatioScript(nothing, "x.svg").empty());
}

TEST_CASE("Cost against files needs those workloads") {
  Results results = MakeResults();
  CHECK(FilesScript(results, "x.svg").empty());
  results.cells.push_back(MakeCell("files-1000", "native", {2, 2, 2}));
  results.cells.push_back(MakeCell("files-1000", "fast", {5, 5, 5}));
  results.cells.push_back(MakeCell("files-20000", "fast", {6, 6, 6}));
  for (Sample& sample : results.cells.back().samples) {
    sample.extra["rss"] = 77;
  }
  std::string script = FilesScript(results, "x.svg");
  Has(script, "1000 5\n20000 6\n");
  Has(script, "20000 77\n");
  Has(script, "title 'native'");
}

TEST_CASE("The progress line tells what is left") {
  CHECK(ProgressLine(0, 10, 0, "x") == "[                        ] 0/10  x");
  CHECK(ProgressLine(5, 10, 65, "y") ==
        "[############            ] 5/10 1:05 left  y");
}

}  // namespace
}  // namespace handlefs::bench
