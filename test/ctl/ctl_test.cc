// The command line of handlefsctl, its text, and which mount it means.
#define CATCH_CONFIG_MAIN
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "command.h"
#include "target.h"

namespace handlefs::ctl {
namespace {

using Args = std::vector<const char*>;
using Words = std::vector<std::string>;

Command Good(const Args& args, const std::string& beside = "/usr/bin") {
  auto parsed = ParseCommand(args, beside);
  if (auto* failure = std::get_if<Failure>(&parsed)) FAIL(failure->message);
  return std::get<Command>(parsed);
}

std::string Bad(const Args& args) {
  auto parsed = ParseCommand(args, "/nowhere");
  REQUIRE(std::holds_alternative<Failure>(parsed));
  CHECK(std::get<Failure>(parsed).status == ExitStatus::kUsage);
  CHECK(std::get<Failure>(parsed).message.find('\n') == std::string::npos);
  return std::get<Failure>(parsed).message;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("commands", "[ctl]") {
  Command status = Good({"/mnt/a b", "status"});
  CHECK(status.target == "/mnt/a b");
  CHECK(status.words == Words{"status"});
  CHECK(status.form == Form::kText);
  CHECK(Good({"--json", "/m", "restart"}).form == Form::kJson);
  CHECK(Good({"/m", "abort", "--json"}).form == Form::kJson);
  CHECK(Good({"/m", "abort"}).IsAbort());
  CHECK(Good({"--", "-m", "status"}).target == "-m");
  CHECK(Good({"-h"}).mode == Mode::kHelp);
  CHECK(Good({"/m", "status", "--version"}).mode == Mode::kVersion);
}

TEST_CASE("programs are named in full", "[ctl]") {
  CHECK(Good({"/m", "upgrade", "/bin/../bin/sh"}).words ==
        Words{"upgrade", "/bin/sh"});
  std::filesystem::current_path("/usr/bin");
  CHECK(Good({"/m", "upgrade", "./sh"}).words[1] == "/usr/bin/sh");
  CHECK(Good({"/m", "upgrade", "sh"}).words[1] == "/usr/bin/sh");
  CHECK(Has(Bad({"/m", "upgrade"}), "/nowhere/handlefs"));
  CHECK(Has(Bad({"/m", "upgrade", "/etc/passwd"}), "not executable"));
  CHECK(Has(Bad({"/m", "upgrade", "/etc"}), "no file"));
}

TEST_CASE("what is wrong is named", "[ctl]") {
  Bad({});
  Bad({"/m"});
  Bad({"", "status"});
  CHECK(Has(Bad({"/m", "sing"}), "sing"));
  CHECK(Has(Bad({"--loud", "/m", "status"}), "--loud"));
  CHECK(Has(Bad({"/m", "status", "now"}), "status"));
  CHECK(Has(Bad({"/m", "upgrade", "/bin/sh", "x"}), "upgrade"));
}

TEST_CASE("text for people", "[ctl]") {
  auto answer = nlohmann::ordered_json::parse(
      R"({"ok":true,"mount_point":"/mnt","serving":true,"pause_ms":1.25,)"
      R"("ops":{"read":7},"names":["a","b"]})");
  CHECK(ToText(answer) ==
        "mount point: /mnt\n"
        "serving:     yes\n"
        "pause ms:    1.250\n"
        "ops read:    7\n"
        "names:       a, b\n");
  CHECK(ToText(nlohmann::ordered_json::parse(R"({"ok":true})")).empty());
}

TEST_CASE("targets", "[ctl]") {
  auto named = [](const std::string& target) {
    auto found = FindTarget(target);
    return std::holds_alternative<Target>(found)
               ? std::get<Target>(found).socket
               : std::get<Failure>(found).message;
  };
  CHECK(named("/x/y.sock") == "/x/y.sock");
  CHECK(Has(named("/nowhere/at/all"), "/nowhere/at"));
  CHECK(Has(named("/usr/bin"), "nothing is mounted at /usr/bin"));
  CHECK(Has(named("/proc/"), "is proc, not fuse.handlefs"));
  CHECK(Has(named("/proc/."), "is proc, not fuse.handlefs"));
  CHECK(Has(named("/proc/self/.."), "'..'"));
  std::filesystem::current_path("/proc");
  CHECK(Has(named("."), "is proc, not fuse.handlefs"));
  std::filesystem::current_path("/");
  CHECK(Has(named("proc"), "is proc, not fuse.handlefs"));
}

}  // namespace
}  // namespace handlefs::ctl
