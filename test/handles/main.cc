// The tests run in a mount namespace of their own, entered before there are
// threads: what they mount goes away with the process, however it ends.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "sandbox.h"

int main(int argc, char** argv) {
  handlefs::test::Sandbox::Enter();
  return Catch::Session().run(argc, argv);
}
