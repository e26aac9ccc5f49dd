// One good request of every row of the opcode table, for tests that then spoil
// them and for the fuzzer's corpus.
#ifndef HANDLEFS_TEST_WIRE_SCRIPT_H_
#define HANDLEFS_TEST_WIRE_SCRIPT_H_

#include <vector>

#include "fake_kernel.h"

namespace handlefs::test {

// Some of everything, known to the daemon.
struct Scene {
  uint64_t dir = 0, file = 0, other = 0, link = 0;
  uint64_t fh = 0, other_fh = 0, dir_fh = 0;
};
Scene MakeScene(const TempTree& tree, FakeKernel& kernel);

// `serial` makes names that are not there yet.
Message GoodMessage(const proto::OpRow& row, const Scene& scene, int serial);

// Rows that are answered ENOSYS whatever they say.
bool IsLeftOut(proto::Opcode op);
// Rows that only make sense once in a connection's life.
bool IsOfSession(proto::Opcode op);

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_SCRIPT_H_
