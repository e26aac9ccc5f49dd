#include "system.h"

#include <catch2/catch.hpp>
#include <set>

namespace handlefs::bench {
namespace {

class FakePrograms final : public Programs {
 public:
  std::set<std::string> installed;
  std::string handlefs = "/built/handlefs";
  std::string Find(const std::string& name) const override {
    return installed.contains(name) ? "/bin/" + name : "";
  }
  std::string Handlefs() const override { return handlefs; }
};

std::vector<std::string> Names(const std::vector<System>& systems) {
  std::vector<std::string> names;
  for (const System& system : systems) names.push_back(system.name);
  return names;
}

using List = std::vector<std::string>;
using Chosen = std::vector<System>;

TEST_CASE("Without a list all that is built in and installed is measured") {
  FakePrograms programs;
  programs.installed = {"mergerfs"};
  Options options;
  options.peers.push_back({"mine", "mine {source} {mount}"});
  auto chosen = ChooseSystems(options, programs);
  REQUIRE(std::holds_alternative<Chosen>(chosen));
  auto names = Names(std::get<Chosen>(chosen));
  REQUIRE(names.size() >= 5);
  CHECK(names[0] == "native");
  CHECK(names[1] == "floor:dev");
  CHECK(std::vector<std::string>(names.end() - 3, names.end()) ==
        List{"handlefs", "mergerfs", "mine"});
}

TEST_CASE("handlefs gets what stands behind the colon as one -o") {
  Options options;
  options.systems = {"handlefs", "handlefs:cache=always,key_file=/a b'c"};
  auto systems = std::get<Chosen>(ChooseSystems(options, FakePrograms()));
  CHECK(systems[0].command == "exec '/built/handlefs' -f {source} {mount}");
  CHECK(systems[1].command ==
        "exec '/built/handlefs' -f -o 'cache=always,key_file=/a b'\\''c' "
        "{source} {mount}");
}

TEST_CASE("A system is measured once, and a peer always") {
  Options options;
  options.systems = {"native", "native", "mine"};
  options.peers.push_back({"mine", "mine {source} {mount}"});
  options.peers.push_back({"other", "other {source} {mount}"});
  auto systems = std::get<Chosen>(ChooseSystems(options, FakePrograms()));
  CHECK(Names(systems) == List{"native", "mine", "other"});
  CHECK(systems[0].kind == System::Kind::kNative);
  CHECK(systems[1].command == "mine {source} {mount}");
}

TEST_CASE("What is not there is refused with the cure") {
  auto why = [](const std::string& name, const std::string& handlefs) {
    Options options;
    options.systems = {name};
    FakePrograms programs;
    programs.handlefs = handlefs;
    auto chosen = ChooseSystems(options, programs);
    auto* wrong = std::get_if<std::string>(&chosen);
    return wrong != nullptr ? *wrong : "accepted";
  };
  CHECK(why("bindfs", "/h") ==
        "system: bindfs is not installed: apt-get install bindfs, or leave it "
        "out");
  CHECK(why("handlefs", "").starts_with("system: no handlefs beside this"));
  CHECK(why("floor:pigeon", "/h").starts_with("system: floor:pigeon is not"));
  CHECK(why("sshfs", "/h").starts_with("system: sshfs is not known"));
}

TEST_CASE("Paths in commands are words for the shell") {
  CHECK(FillIn("x {source} -o a={mount},b={scratch}/y {source}", "/s p", "/m",
               "/q'") == "x '/s p' -o a='/m',b='/q'\\'''/y '/s p'");
}

TEST_CASE("Known peers have both places in their command") {
  for (const KnownPeer& peer : KnownPeers()) {
    std::string command = peer.command;
    CHECK(command.find("{source}") != std::string::npos);
    CHECK(command.find("{mount}") != std::string::npos);
    CHECK(command.starts_with(peer.name));
  }
}

}  // namespace
}  // namespace handlefs::bench
