// The values of the options.
#include "parsing.h"

namespace handlefs::test {
namespace {

TEST_CASE("defaults", "[options]") {
  Options o = Parsed({});
  CHECK(o.mode == Mode::kServe);
  CHECK(o.mount_attributes == 0);
  CHECK(o.read_only == Switch::kOff);
  CHECK_FALSE(o.allow_other);
  CHECK(o.fsname.empty());
  CHECK(o.max_read == 0);
  CHECK(o.submounts == Submounts::kHide);
  CHECK(o.identity == Identity::kAuto);
  CHECK(o.exported == Switch::kOff);
  CHECK(o.key_file.empty());
  CHECK(o.cache == Cache::kAuto);
  CHECK(o.timeout == 1.0);
  CHECK(o.locks == Locks::kHost);
  CHECK(o.passthrough == Passthrough::kAuto);
  CHECK(o.max_write == 1 << 20);
  CHECK(o.transport == Transport::kAuto);
  CHECK(o.offload == Offload::kAuto);
  CHECK(o.threads == 16);
  CHECK(o.foreground == Switch::kOff);
  CHECK(o.trace == Switch::kOff);
  CHECK(o.log == "auto");
  CHECK(o.log_level == LogLevel::kInfo);
}

TEST_CASE("choices", "[options]") {
  CHECK(Parsed({"--submounts=cross"}).submounts == Submounts::kCross);
  CHECK(Parsed({"--submounts=hide"}).submounts == Submounts::kHide);
  CHECK(Parsed({"--identity=handle"}).identity == Identity::kHandle);
  CHECK(Parsed({"--identity=fd"}).identity == Identity::kFd);
  CHECK(Parsed({"--identity=auto"}).identity == Identity::kAuto);
  CHECK(Parsed({"--export=on"}).exported == Switch::kOn);
  CHECK(Parsed({"--export=off"}).exported == Switch::kOff);
  CHECK(Parsed({"--cache=none"}).cache == Cache::kNone);
  CHECK(Parsed({"--cache=auto"}).cache == Cache::kAuto);
  CHECK(Parsed({"--cache=always"}).cache == Cache::kAlways);
  CHECK(Parsed({"--passthrough=on"}).passthrough == Passthrough::kOn);
  CHECK(Parsed({"--passthrough=off"}).passthrough == Passthrough::kOff);
  CHECK(Parsed({"--passthrough=auto"}).passthrough == Passthrough::kAuto);
  CHECK(Parsed({"--locks=local"}).locks == Locks::kLocal);
  CHECK(Parsed({"--locks=host"}).locks == Locks::kHost);
  CHECK(Parsed({"--transport=dev"}).transport == Transport::kDev);
  CHECK(Parsed({"--transport=auto"}).transport == Transport::kAuto);
  CHECK(Parsed({"--offload=always"}).offload == Offload::kAlways);
  CHECK(Parsed({"--offload=never"}).offload == Offload::kNever);
  CHECK(Parsed({"--offload=auto"}).offload == Offload::kAuto);
  CHECK(Parsed({}).scheduling == io::Scheduling::kAuto);
  CHECK(Parsed({"--scheduling=normal"}).scheduling == io::Scheduling::kNormal);
  CHECK(Parsed({"--scheduling=auto"}).scheduling == io::Scheduling::kAuto);
  CHECK(Parsed({}).restart == Restart::kBest);
  CHECK(Parsed({"--restart=off"}).restart == Restart::kOff);
  CHECK(Parsed({"--restart=best"}).restart == Restart::kBest);
  CHECK(Parsed({"--restart=lossless"}).restart == Restart::kLossless);
  CHECK(
      Mentions(Refusal({"--restart=lossless", "-otransport=uring", "/a", "/b"}),
               "transport=uring"));
  CHECK(Parsed({"--log-level=error"}).log_level == LogLevel::kError);
  CHECK(Parsed({"--log-level=warning"}).log_level == LogLevel::kWarning);
  CHECK(Parsed({"--log-level=info"}).log_level == LogLevel::kInfo);
  CHECK(Parsed({"--log-level=debug"}).log_level == LogLevel::kDebug);
}

TEST_CASE("allow_other may stand alone", "[options]") {
  CHECK(Parsed({"-oallow_other"}).allow_other == Switch::kOn);
  CHECK(Parsed({"--allow-other"}).allow_other == Switch::kOn);
  CHECK(Parsed({"--allow-other=on"}).allow_other == Switch::kOn);
  CHECK(Parsed({"-oallow_other=off"}).allow_other == Switch::kOff);
  CHECK(Mentions(RefusalOf("-oallow_other=yes"), "allow_other"));
}

TEST_CASE("other flags may stand alone, too", "[options]") {
  CHECK(Parsed({}).replace_stale == Switch::kOff);
  CHECK(Parsed({"-oreplace_stale"}).replace_stale == Switch::kOn);
  CHECK(Parsed({"-oreplace_stale=off"}).replace_stale == Switch::kOff);
  CHECK(Parsed({}).require_mounted_source == Switch::kOff);
  CHECK(Parsed({"--require-mounted-source"}).require_mounted_source ==
        Switch::kOn);
  CHECK(Mentions(RefusalOf("-oreplace_stale=yes"), "replace_stale"));
}

TEST_CASE("texts", "[options]") {
  CHECK(Parsed({"--fsname=host:/x y"}).fsname == "host:/x y");
  CHECK(Parsed({"--key-file=/etc/key"}).key_file == "/etc/key");
  CHECK(Parsed({"--log=syslog"}).log == "syslog");
  CHECK(Parsed({"--log=/var/log/x"}).log == "/var/log/x");
}

TEST_CASE("sizes have units", "[options]") {
  CHECK(Parsed({"--max-write=4096"}).max_write == 4096);
  CHECK(Parsed({"--max-write=4k"}).max_write == 4096);
  CHECK(Parsed({"--max-write=128K"}).max_write == 131072);
  CHECK(Parsed({"--max-write=1m"}).max_write == 1 << 20);
  CHECK(Parsed({"--max-write=1M"}).max_write == 1 << 20);
  CHECK(Parsed({"--max-read=64k"}).max_read == 65536);
  CHECK(Parsed({"--threads=256"}).threads == 256);
  CHECK(Parsed({"--threads=1"}).threads == 1);
}

TEST_CASE("numbers out of range or shape are refused", "[options]") {
  const char* name = GENERATE("max_write", "max_read");
  // The last ones are multiples that would be in range if 64 bits were all.
  const char* value =
      GENERATE("0", "4095", "1048577", "2M", "1025k", "-4096", "+4096", "4096 ",
               " 4096", "4096b", "4kk", "4g", "1.5m", "0x1000", "k", "four",
               "99999999999999999999", "18014398509481988k", "17592186044417m");
  std::string message =
      RefusalOf("--" + std::string(name) + "=" + std::string(value));
  INFO(value);
  CHECK(Mentions(message, name));
  CHECK(Mentions(message, "'" + std::string(value) + "'"));
  CHECK(Mentions(message, "4096"));
  CHECK(Mentions(message, "1048576"));
}

TEST_CASE("the number of threads is bounded", "[options]") {
  const char* value = GENERATE("0", "257", "1k", "-1", "4294967297");
  std::string message = RefusalOf("--threads=" + std::string(value));
  INFO(value);
  CHECK(Mentions(message, "threads"));
  CHECK(Mentions(message, "from 1 to 256"));
}

TEST_CASE("seconds may have a fraction", "[options]") {
  CHECK(Parsed({"--timeout=0"}).timeout == 0.0);
  CHECK(Parsed({"--timeout=0.25"}).timeout == 0.25);
  CHECK(Parsed({"--timeout=86400"}).timeout == 86400.0);
  CHECK(Parsed({"--timeout=1e3"}).timeout == 1000.0);
  const char* value = GENERATE("-1", "nan", "inf", "-inf", "1s", "1e9", "1,5x",
                               "x", "1 ", "1e999");
  INFO(value);
  std::string message = RefusalOf("--timeout=" + std::string(value));
  CHECK(Mentions(message, "timeout"));
  CHECK(Mentions(message, "seconds"));
}

TEST_CASE("a single word can be applied", "[options]") {
  Options options;
  CHECK(ApplyOption(options, "cache=always", "here").ok());
  CHECK(options.cache == Cache::kAlways);
  CHECK(ApplyOption(options, "noexec", "here").ok());
  CHECK_FALSE(ApplyOption(options, "", "here").ok());
  CHECK_FALSE(ApplyOption(options, "=", "here").ok());
  CHECK_FALSE(ApplyOption(options, "nothing", "here").ok());
}

}  // namespace
}  // namespace handlefs::test
