// The layouts of requests, from the tables of protocol 7.45.
#include "layout.h"

namespace handlefs::test {
namespace {

TEST_CASE("layout of ForgetIn", "[layout]") {
  LAYOUT(ForgetIn, 8);
  FIELD(nlookup, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of ForgetOne", "[layout]") {
  LAYOUT(ForgetOne, 16);
  FIELD(nodeid, 0, 8);
  FIELD(nlookup, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of BatchForgetIn", "[layout]") {
  LAYOUT(BatchForgetIn, 8);
  FIELD(count, 0, 4);
  FIELD(dummy, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of GetattrIn", "[layout]") {
  LAYOUT(GetattrIn, 16);
  FIELD(getattr_flags, 0, 4);
  FIELD(dummy, 4, 4);
  FIELD(fh, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of StatxIn", "[layout]") {
  LAYOUT(StatxIn, 24);
  FIELD(getattr_flags, 0, 4);
  FIELD(reserved, 4, 4);
  FIELD(fh, 8, 8);
  FIELD(sx_flags, 16, 4);
  FIELD(sx_mask, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of MknodIn", "[layout]") {
  LAYOUT(MknodIn, 16);
  FIELD(mode, 0, 4);
  FIELD(rdev, 4, 4);
  FIELD(umask, 8, 4);
  FIELD(padding, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of MkdirIn", "[layout]") {
  LAYOUT(MkdirIn, 8);
  FIELD(mode, 0, 4);
  FIELD(umask, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of RenameIn", "[layout]") {
  LAYOUT(RenameIn, 8);
  FIELD(newdir, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of Rename2In", "[layout]") {
  LAYOUT(Rename2In, 16);
  FIELD(newdir, 0, 8);
  FIELD(flags, 8, 4);
  FIELD(padding, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of LinkIn", "[layout]") {
  LAYOUT(LinkIn, 8);
  FIELD(oldnodeid, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of SetattrIn", "[layout]") {
  LAYOUT(SetattrIn, 88);
  FIELD(valid, 0, 4);
  FIELD(padding, 4, 4);
  FIELD(fh, 8, 8);
  FIELD(size, 16, 8);
  FIELD(lock_owner, 24, 8);
  FIELD(atime, 32, 8);
  FIELD(mtime, 40, 8);
  FIELD(ctime, 48, 8);
  FIELD(atimensec, 56, 4);
  FIELD(mtimensec, 60, 4);
  FIELD(ctimensec, 64, 4);
  FIELD(mode, 68, 4);
  FIELD(unused4, 72, 4);
  FIELD(uid, 76, 4);
  FIELD(gid, 80, 4);
  FIELD(unused5, 84, 4);
  END_LAYOUT();
}

TEST_CASE("layout of OpenIn", "[layout]") {
  LAYOUT(OpenIn, 8);
  FIELD(flags, 0, 4);
  FIELD(open_flags, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of CreateIn", "[layout]") {
  LAYOUT(CreateIn, 16);
  FIELD(flags, 0, 4);
  FIELD(mode, 4, 4);
  FIELD(umask, 8, 4);
  FIELD(open_flags, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of ReleaseIn", "[layout]") {
  LAYOUT(ReleaseIn, 24);
  FIELD(fh, 0, 8);
  FIELD(flags, 8, 4);
  FIELD(release_flags, 12, 4);
  FIELD(lock_owner, 16, 8);
  END_LAYOUT();
}

TEST_CASE("layout of FlushIn", "[layout]") {
  LAYOUT(FlushIn, 24);
  FIELD(fh, 0, 8);
  FIELD(unused, 8, 4);
  FIELD(padding, 12, 4);
  FIELD(lock_owner, 16, 8);
  END_LAYOUT();
}

TEST_CASE("layout of ReadIn", "[layout]") {
  LAYOUT(ReadIn, 40);
  FIELD(fh, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(size, 16, 4);
  FIELD(read_flags, 20, 4);
  FIELD(lock_owner, 24, 8);
  FIELD(flags, 32, 4);
  FIELD(padding, 36, 4);
  END_LAYOUT();
}

TEST_CASE("layout of WriteIn", "[layout]") {
  LAYOUT(WriteIn, 40);
  FIELD(fh, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(size, 16, 4);
  FIELD(write_flags, 20, 4);
  FIELD(lock_owner, 24, 8);
  FIELD(flags, 32, 4);
  FIELD(padding, 36, 4);
  END_LAYOUT();
}

TEST_CASE("layout of FsyncIn", "[layout]") {
  LAYOUT(FsyncIn, 16);
  FIELD(fh, 0, 8);
  FIELD(fsync_flags, 8, 4);
  FIELD(padding, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of SetxattrIn", "[layout]") {
  LAYOUT(SetxattrIn, 16);
  FIELD(size, 0, 4);
  FIELD(flags, 4, 4);
  FIELD(setxattr_flags, 8, 4);
  FIELD(padding, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of GetxattrIn", "[layout]") {
  LAYOUT(GetxattrIn, 8);
  FIELD(size, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of LkIn", "[layout]") {
  LAYOUT(LkIn, 48);
  FIELD(fh, 0, 8);
  FIELD(owner, 8, 8);
  INNER(lk, 16, 24);
  FIELD(lk_flags, 40, 4);
  FIELD(padding, 44, 4);
  END_LAYOUT();
}

TEST_CASE("layout of AccessIn", "[layout]") {
  LAYOUT(AccessIn, 8);
  FIELD(mask, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of InitIn", "[layout]") {
  LAYOUT(InitIn, 64);
  FIELD(major, 0, 4);
  FIELD(minor, 4, 4);
  FIELD(max_readahead, 8, 4);
  FIELD(flags, 12, 4);
  FIELD(flags2, 16, 4);
  INNER(unused, 20, 44);
  END_LAYOUT();
}

TEST_CASE("layout of CuseInitIn", "[layout]") {
  LAYOUT(CuseInitIn, 16);
  FIELD(major, 0, 4);
  FIELD(minor, 4, 4);
  FIELD(unused, 8, 4);
  FIELD(flags, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of InterruptIn", "[layout]") {
  LAYOUT(InterruptIn, 8);
  FIELD(unique, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of BmapIn", "[layout]") {
  LAYOUT(BmapIn, 16);
  FIELD(block, 0, 8);
  FIELD(blocksize, 8, 4);
  FIELD(padding, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of IoctlIn", "[layout]") {
  LAYOUT(IoctlIn, 32);
  FIELD(fh, 0, 8);
  FIELD(flags, 8, 4);
  FIELD(cmd, 12, 4);
  FIELD(arg, 16, 8);
  FIELD(in_size, 24, 4);
  FIELD(out_size, 28, 4);
  END_LAYOUT();
}

TEST_CASE("layout of IoctlIovec", "[layout]") {
  LAYOUT(IoctlIovec, 16);
  FIELD(base, 0, 8);
  FIELD(len, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of PollIn", "[layout]") {
  LAYOUT(PollIn, 24);
  FIELD(fh, 0, 8);
  FIELD(kh, 8, 8);
  FIELD(flags, 16, 4);
  FIELD(events, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of FallocateIn", "[layout]") {
  LAYOUT(FallocateIn, 32);
  FIELD(fh, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(length, 16, 8);
  FIELD(mode, 24, 4);
  FIELD(padding, 28, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyRetrieveIn", "[layout]") {
  LAYOUT(NotifyRetrieveIn, 40);
  FIELD(dummy1, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(size, 16, 4);
  FIELD(dummy2, 20, 4);
  FIELD(dummy3, 24, 8);
  FIELD(dummy4, 32, 8);
  END_LAYOUT();
}

TEST_CASE("layout of LseekIn", "[layout]") {
  LAYOUT(LseekIn, 24);
  FIELD(fh, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(whence, 16, 4);
  FIELD(padding, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of CopyFileRangeIn", "[layout]") {
  LAYOUT(CopyFileRangeIn, 56);
  FIELD(fh_in, 0, 8);
  FIELD(off_in, 8, 8);
  FIELD(nodeid_out, 16, 8);
  FIELD(fh_out, 24, 8);
  FIELD(off_out, 32, 8);
  FIELD(len, 40, 8);
  FIELD(flags, 48, 8);
  END_LAYOUT();
}

TEST_CASE("layout of SetupmappingIn", "[layout]") {
  LAYOUT(SetupmappingIn, 40);
  FIELD(fh, 0, 8);
  FIELD(foffset, 8, 8);
  FIELD(len, 16, 8);
  FIELD(flags, 24, 8);
  FIELD(moffset, 32, 8);
  END_LAYOUT();
}

TEST_CASE("layout of RemovemappingIn", "[layout]") {
  LAYOUT(RemovemappingIn, 4);
  FIELD(count, 0, 4);
  END_LAYOUT();
}

TEST_CASE("layout of RemovemappingOne", "[layout]") {
  LAYOUT(RemovemappingOne, 16);
  FIELD(moffset, 0, 8);
  FIELD(len, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of SyncfsIn", "[layout]") {
  LAYOUT(SyncfsIn, 8);
  FIELD(padding, 0, 8);
  END_LAYOUT();
}

}  // namespace
}  // namespace handlefs::test
