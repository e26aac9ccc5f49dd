// Programs that people run.
#include <unistd.h>

#include "fixtures.h"
#include "workload.h"

namespace handlefs::bench {
namespace {

using Words = std::vector<std::string>;

// `command` gets the client for its paths.
Workload Program(const char* name, const char* about, Words fixtures,
                 std::function<Words(Client&)> command) {
  return {.info = {name, "tree", "ms", about},
          .fixtures = std::move(fixtures),
          .measure = [command = std::move(command)](Client& client) {
            SetGitEnvironment();
            const Words words = command(client);
            client.Once([&] {
              client.Run(words);
              return 1;
            });
          }};
}

}  // namespace

std::vector<Workload> TreeWorkloads() {
  std::vector<Workload> all;
  all.push_back(Program("tar-x", "tar x of the text", {kText, kPack},
                        [](Client& client) -> Words {
                          return {"tar", "-xf", client.Path("pack.tar"), "-C",
                                  client.Path("cell")};
                        }));
  all.push_back(Program("git-clone", "git clone, both sides on the mount",
                        {kText, kRepo}, [](Client& client) -> Words {
                          return {"git",
                                  "clone",
                                  "-q",
                                  "--no-hardlinks",
                                  client.Path(kRepo),
                                  client.Path("cell/clone")};
                        }));
  all.push_back(Program("git-status", "git status, of a clone not seen before",
                        {kText, kRepo}, [](Client& client) -> Words {
                          return {"git", "-C", client.Path("cell/clone"),
                                  "status", "--porcelain"};
                        }));
  all.back().prepare = [](Client& client) {
    SetGitEnvironment();
    client.Run(
        {"git", "clone", "-q", client.Path(kRepo), client.Path("cell/clone")});
  };
  all.push_back(
      Program("grep", "grep -r, cold", {kText}, [](Client& client) -> Words {
        return {"grep", "-rlF", kNeedle, client.Path(kText)};
      }));
  all.push_back(Program(
      "rm", "rm -rf, cold", {kText, kPack}, [](Client& client) -> Words {
        return {"rm", "-rf", client.Path("cell/" + std::string(kText))};
      }));
  all.back().prepare = [](Client& client) {
    client.Run(
        {"tar", "-xf", client.Path("pack.tar"), "-C", client.Path("cell")});
  };
  return all;
}

}  // namespace handlefs::bench
