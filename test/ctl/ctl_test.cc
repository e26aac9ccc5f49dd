// The command line of handlefsctl, its text, and which mount it means.
#define CATCH_CONFIG_MAIN
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "command.h"
#include "stats_text.h"
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
  CHECK(Has(Bad({"/m", "trace"}), "follow"));
  CHECK(Has(Bad({"/m", "trace", "loud"}), "on, off, follow"));
  CHECK(Has(Bad({"/m", "trace", "on", "off"}), "too many"));
  CHECK(Has(Bad({"/m", "path"}), "which node"));
  CHECK(Has(Bad({"/m", "path", "here"}), "nodeid"));
  CHECK(Has(Bad({"/m", "path", ""}), "nodeid"));
  CHECK(Has(Bad({"/m", "path", "18446744073709551616"}), "nodeid"));
  CHECK(Has(Bad({"/m", "drain", "soon"}), "seconds"));
  CHECK(Has(Bad({"/m", "drain", "1000000"}), "3600"));
  CHECK(Has(Bad({"/m", "drop-caches", "now"}), "too many"));
}

TEST_CASE("commands with words of their own", "[ctl]") {
  CHECK(Good({"/m", "trace", "follow"}).IsFollow());
  CHECK_FALSE(Good({"/m", "trace", "on"}).IsFollow());
  CHECK(Good({"/m", "path", "0x2a"}).words == Words{"path", "0x2a"});
  CHECK(Good({"/m", "path", "n42"}).words == Words{"path", "n42"});
  CHECK(Good({"/m", "drain"}).words == Words{"drain"});
  CHECK(Good({"/m", "drain", "0"}).words == Words{"drain", "0"});
  for (const char* name : {"stats", "metrics", "drop-caches"}) {
    CHECK(Good({"/m", name}).words == Words{name});
    CHECK(Has(Usage(), name));
  }
}

TEST_CASE("short times and sizes", "[ctl]") {
  CHECK(ShortTime(0) == "0");
  CHECK(ShortTime(0.0000012) == "1.20 us");
  CHECK(ShortTime(0.000123) == "123 us");
  CHECK(ShortTime(0.0009996) == "1.00 ms");
  CHECK(ShortTime(0.0123) == "12.3 ms");
  CHECK(ShortTime(59.96) == "60.0 s");
  CHECK(ShortTime(123456) == "123456 s");
  CHECK(ShortBytes(0) == "0 B");
  CHECK(ShortBytes(999) == "999 B");
  CHECK(ShortBytes(1000) == "1.0 KiB");
  CHECK(ShortBytes(3 << 20) == "3.0 MiB");
  CHECK(ShortBytes(UINT64_MAX) == "16384.0 PiB");
}

TEST_CASE("stats as a table", "[ctl]") {
  auto answer = nlohmann::ordered_json::parse(
      R"({"ok":true,"mount_point":"/mnt","counted_seconds":61.2,)"
      R"("generation":2,"crashes":1,"requests":130,"errors":31,)"
      R"("by_error":{"EACCES":1,"ENOENT":30},"bytes_read":2048,)"
      R"("waiting":1,"descriptors":20,"descriptor_limit":1024,"ops":[)"
      R"({"op":"GETATTR","count":30,"errors":0,"p50_us":1.5,"p99_us":90,)"
      R"("mean_us":3,"seconds":0.00009},)"
      R"({"op":"LOOKUP","count":100,"errors":31,"p50_us":12.5,"p99_us":1500,)"
      R"("mean_us":20,"seconds":0.002}],"in_flight":[{"op":"READ","node":7,)"
      R"("unique":18,"age_seconds":12.5,"where":"pool"}],"fallbacks":[)"
      R"({"feature":"io_uring","reason":"it is off","count":1}]})");
  std::string text = ToText("stats", answer);
  CHECK(Has(text,
            "requests:           130, 31 with an error "
            "(ENOENT 30, EACCES 1)\n"));
  CHECK(Has(text, "servers:            2, 1 crashed\n"));
  CHECK(Has(text, "not used: io_uring: it is off\n"));
  // The most frequent first, numbers below each other.
  CHECK(Has(text,
            "operation  count  errors      p50      p99     mean    total\n"
            "LOOKUP       100      31  12.5 us  1.50 ms  20.0 us  2.00 ms\n"
            "GETATTR       30       0  1.50 us  90.0 us  3.00 us  90.0 us\n"));
  CHECK(Has(text,
            "in flight     age  where  node  unique\n"
            "READ       12.5 s   pool     7      18\n"));
  // Nothing has been asked yet, and nobody serves.
  text = ToText("stats", nlohmann::ordered_json::parse(R"({"ok":true})"));
  CHECK(Has(text, "none just now"));
  CHECK_FALSE(Has(text, "operation"));
}

TEST_CASE("text for people", "[ctl]") {
  auto answer = nlohmann::ordered_json::parse(
      R"({"ok":true,"mount_point":"/mnt","serving":true,"pause_ms":1.25,)"
      R"("ops":{"read":7},"names":["a","b"]})");
  CHECK(ToText("status", answer) ==
        "mount point: /mnt\n"
        "serving:     yes\n"
        "pause ms:    1.250\n"
        "ops read:    7\n"
        "names:       a, b\n");
  CHECK(ToText("restart", nlohmann::ordered_json::parse(R"({"ok":true})"))
            .empty());
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
