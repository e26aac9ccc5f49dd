// handlefs-bench: compares FUSE servers.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include "compare.h"
#include "environment.h"
#include "floor.h"
#include "json.h"
#include "options.h"
#include "plot.h"
#include "process.h"
#include "report.h"
#include "runner.h"
#include "scratch.h"
#include "system.h"
#include "text.h"
#include "workload.h"

namespace handlefs::bench {
namespace {

int Fail(ExitCode code, const std::string& why) {
  std::fprintf(stderr, "handlefs-bench: %s\n", why.c_str());
  return static_cast<int>(code);
}

std::variant<Results, std::string> Load(const std::string& path) {
  std::ifstream file(path);
  if (!file) return "input: " + path + ": " + std::strerror(errno);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  auto results = FromJson(text);
  if (auto* wrong = std::get_if<std::string>(&results)) {
    return "input: " + path + " holds no results: " + *wrong;
  }
  return results;
}

// Before hours are spent: whether what is asked for can be written.
std::optional<std::string> CheckOutputs(const Options& options) {
  for (const std::string& path :
       {options.json, options.markdown, options.plot, options.plot_files}) {
    if (path.empty()) continue;
    UniqueFd fd(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    if (!fd) return "output: " + path + ": " + std::strerror(errno);
  }
  if (options.plot.empty() && options.plot_files.empty()) return std::nullopt;
  return RunGnuplot("");
}

std::optional<std::string> WriteFile(const std::string& path,
                                     const std::string& text) {
  if (path.empty()) return std::nullopt;
  std::ofstream file(path, std::ios::trunc);
  file << text << std::flush;
  if (!file) return "output: " + path + ": " + std::strerror(errno);
  return std::nullopt;
}

std::optional<std::string> Draw(const std::string& path,
                                const std::string& script) {
  if (path.empty()) return std::nullopt;
  if (script.empty()) {
    return "plot: " + path +
           ": nothing to draw: it needs native and another system (and the "
           "workloads files-N for --plot-files)";
  }
  return RunGnuplot(script);
}

// Relative paths would be taken from the directory of gnuplot, the same.
ExitCode Write(const Options& options, const Results& results) {
  std::string report = RenderReport(results);
  std::fputs(report.c_str(), stdout);
  ExitCode code = ExitCode::kOk;
  for (const auto& wrong :
       {WriteFile(options.json, ToJson(results)),
        WriteFile(options.markdown, report),
        Draw(options.plot, RatioScript(results, options.plot)),
        Draw(options.plot_files, FilesScript(results, options.plot_files))}) {
    if (!wrong) continue;
    Fail(ExitCode::kOutput, *wrong);
    code = ExitCode::kOutput;
  }
  return code;
}

bool IsOurs(const System& system) {
  return system.kind != System::Kind::kCommand || system.name == "handlefs" ||
         system.name.starts_with("handlefs:");
}

bool FailedOurs(const std::vector<System>& systems, const Results& results) {
  for (const Cell& cell : results.cells) {
    for (const System& system : systems) {
      if (system.name == cell.system && IsOurs(system) &&
          cell.outcome == Outcome::kFailed) {
        return true;
      }
    }
  }
  return false;
}

int Run(const Options& options) {
  auto chosen = SelectWorkloads(AllWorkloads(options.knobs), options.workloads);
  if (auto* word = std::get_if<std::string>(&chosen)) {
    return Fail(ExitCode::kUsage, "workload: " + *word +
                                      " is none: handlefs-bench list shows "
                                      "them");
  }
  auto workloads = std::get<std::vector<Workload>>(std::move(chosen));
  auto found = ChooseSystems(options, InstalledPrograms(options.handlefs));
  if (auto* wrong = std::get_if<std::string>(&found)) {
    return Fail(ExitCode::kUsage, *wrong);
  }
  auto systems = std::get<std::vector<System>>(std::move(found));
  if (geteuid() != 0) {
    return Fail(ExitCode::kEnvironment,
                "start: it mounts file systems: run it as root");
  }
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    return Fail(ExitCode::kEnvironment,
                "start: /dev/fuse: " + std::string(std::strerror(errno)) +
                    ": modprobe fuse, or give the container --device "
                    "/dev/fuse");
  }
  if (auto wrong = CheckOutputs(options))
    return Fail(ExitCode::kOutput, *wrong);
  if (auto wrong = EnterNamespace())
    return Fail(ExitCode::kEnvironment, *wrong);
  Signals signals;
  Results results;
  {
    Scratch scratch;
    if (auto wrong = scratch.Make(options.source)) {
      return Fail(ExitCode::kEnvironment, *wrong);
    }
    results.environment = DescribeEnvironment(scratch.source());
    results.settings = DescribeSettings(options);
    for (const System& system : systems) {
      results.systems.push_back(Describe(system));
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    // The modes of what is made are those that are asked for.
    umask(022);
    Runner(options, systems, std::move(workloads), scratch, signals)
        .Run(&results);
  }
  ExitCode written = Write(options, results);
  if (int signal = signals.Pending(); signal != 0) {
    Fail(ExitCode::kOk, "interrupted: what was measured until then is above");
    return 128 + signal;
  }
  if (written != ExitCode::kOk) return static_cast<int>(written);
  if (FailedOurs(systems, results)) {
    return Fail(ExitCode::kRegression,
                "run: a system of ours failed: see the report");
  }
  return 0;
}

int List(const Options& options) {
  std::printf("workloads (* runs by default):\n");
  for (const Workload& workload : AllWorkloads(options.knobs)) {
    std::printf("%c %-24s %-10s %-9s %s\n",
                workload.by_default == Workload::Default::kRuns ? '*' : ' ',
                workload.info.name.c_str(), workload.info.group.c_str(),
                workload.info.unit.c_str(), workload.info.about.c_str());
  }
  InstalledPrograms programs("");
  std::string handlefs = programs.Handlefs();
  std::printf("\nsystems:\n  %-24s %s\n", "native", "the source itself");
  for (const FloorKind& floor : Floors()) {
    std::printf("  %-24s constant answers, round trips only%s\n",
                (std::string(kFloorPrefix) + floor.transport).c_str(),
                floor.available() ? "" : " (not with this kernel)");
  }
  std::printf("  %-24s %s\n", "handlefs[:OPTIONS]",
              handlefs.empty() ? "(not built)" : handlefs.c_str());
  for (const KnownPeer& peer : KnownPeers()) {
    std::printf("  %-24s %s%s\n", peer.name, peer.command,
                programs.Find(peer.name).empty() ? " (not installed)" : "");
  }
  return 0;
}

int Report(const Options& options) {
  auto results = Load(options.inputs[0]);
  if (auto* wrong = std::get_if<std::string>(&results)) {
    return Fail(ExitCode::kUsage, *wrong);
  }
  if (auto wrong = CheckOutputs(options))
    return Fail(ExitCode::kOutput, *wrong);
  return static_cast<int>(Write(options, std::get<Results>(results)));
}

int CompareFiles(const Options& options) {
  auto before = Load(options.inputs[0]), after = Load(options.inputs[1]);
  for (auto* results : {&before, &after}) {
    if (auto* wrong = std::get_if<std::string>(results)) {
      return Fail(ExitCode::kUsage, *wrong);
    }
  }
  auto rows = Compare(std::get<Results>(before), std::get<Results>(after),
                      options.threshold);
  if (rows.empty()) {
    return Fail(ExitCode::kUsage,
                "compare: the two have no workload and system in common");
  }
  std::fputs(RenderComparison(rows).c_str(), stdout);
  return static_cast<int>(HasRegression(rows) ? ExitCode::kRegression
                                              : ExitCode::kOk);
}

int Main(const std::vector<std::string>& args) {
  auto parsed = ParseOptions(args);
  if (auto* wrong = std::get_if<std::string>(&parsed)) {
    return Fail(ExitCode::kUsage, *wrong + " (--help tells more)");
  }
  const auto& options = std::get<Options>(parsed);
  switch (options.command) {
    case Command::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case Command::kRun:
      return Run(options);
    case Command::kList:
      return List(options);
    case Command::kReport:
      return Report(options);
    case Command::kCompare:
      return CompareFiles(options);
  }
  return 0;
}

}  // namespace
}  // namespace handlefs::bench

// NOLINTNEXTLINE(bugprone-exception-escape): without memory it may end
int main(int argc, char** argv) {
  return handlefs::bench::Main({argv + 1, argv + argc});
}
