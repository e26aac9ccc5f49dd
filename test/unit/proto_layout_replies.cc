// The layouts of objects, replies and notifications, from the tables of
// protocol 7.45.
#include "layout.h"

namespace handlefs::test {
namespace {

TEST_CASE("layout of Attr", "[layout]") {
  LAYOUT(Attr, 88);
  FIELD(ino, 0, 8);
  FIELD(size, 8, 8);
  FIELD(blocks, 16, 8);
  FIELD(atime, 24, 8);
  FIELD(mtime, 32, 8);
  FIELD(ctime, 40, 8);
  FIELD(atimensec, 48, 4);
  FIELD(mtimensec, 52, 4);
  FIELD(ctimensec, 56, 4);
  FIELD(mode, 60, 4);
  FIELD(nlink, 64, 4);
  FIELD(uid, 68, 4);
  FIELD(gid, 72, 4);
  FIELD(rdev, 76, 4);
  FIELD(blksize, 80, 4);
  FIELD(flags, 84, 4);
  END_LAYOUT();
}

TEST_CASE("layout of SxTime", "[layout]") {
  LAYOUT(SxTime, 16);
  FIELD(tv_sec, 0, 8);
  FIELD(tv_nsec, 8, 4);
  FIELD(reserved, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of Statx", "[layout]") {
  LAYOUT(Statx, 256);
  FIELD(mask, 0, 4);
  FIELD(blksize, 4, 4);
  FIELD(attributes, 8, 8);
  FIELD(nlink, 16, 4);
  FIELD(uid, 20, 4);
  FIELD(gid, 24, 4);
  FIELD(mode, 28, 2);
  INNER(spare0, 30, 2);
  FIELD(ino, 32, 8);
  FIELD(size, 40, 8);
  FIELD(blocks, 48, 8);
  FIELD(attributes_mask, 56, 8);
  INNER(atime, 64, 16);
  INNER(btime, 80, 16);
  INNER(ctime, 96, 16);
  INNER(mtime, 112, 16);
  FIELD(rdev_major, 128, 4);
  FIELD(rdev_minor, 132, 4);
  FIELD(dev_major, 136, 4);
  FIELD(dev_minor, 140, 4);
  INNER(spare2, 144, 112);
  END_LAYOUT();
}

TEST_CASE("layout of Kstatfs", "[layout]") {
  LAYOUT(Kstatfs, 80);
  FIELD(blocks, 0, 8);
  FIELD(bfree, 8, 8);
  FIELD(bavail, 16, 8);
  FIELD(files, 24, 8);
  FIELD(ffree, 32, 8);
  FIELD(bsize, 40, 4);
  FIELD(namelen, 44, 4);
  FIELD(frsize, 48, 4);
  FIELD(padding, 52, 4);
  INNER(spare, 56, 24);
  END_LAYOUT();
}

TEST_CASE("layout of FileLock", "[layout]") {
  LAYOUT(FileLock, 24);
  FIELD(start, 0, 8);
  FIELD(end, 8, 8);
  FIELD(type, 16, 4);
  FIELD(pid, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of EntryOut", "[layout]") {
  LAYOUT(EntryOut, 128);
  FIELD(nodeid, 0, 8);
  FIELD(generation, 8, 8);
  FIELD(entry_valid, 16, 8);
  FIELD(attr_valid, 24, 8);
  FIELD(entry_valid_nsec, 32, 4);
  FIELD(attr_valid_nsec, 36, 4);
  INNER(attr, 40, 88);
  END_LAYOUT();
}

TEST_CASE("layout of AttrOut", "[layout]") {
  LAYOUT(AttrOut, 104);
  FIELD(attr_valid, 0, 8);
  FIELD(attr_valid_nsec, 8, 4);
  FIELD(dummy, 12, 4);
  INNER(attr, 16, 88);
  END_LAYOUT();
}

TEST_CASE("layout of StatxOut", "[layout]") {
  LAYOUT(StatxOut, 288);
  FIELD(attr_valid, 0, 8);
  FIELD(attr_valid_nsec, 8, 4);
  FIELD(flags, 12, 4);
  INNER(spare, 16, 16);
  INNER(stat, 32, 256);
  END_LAYOUT();
}

TEST_CASE("layout of OpenOut", "[layout]") {
  LAYOUT(OpenOut, 16);
  FIELD(fh, 0, 8);
  FIELD(open_flags, 8, 4);
  FIELD(backing_id, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of WriteOut", "[layout]") {
  LAYOUT(WriteOut, 8);
  FIELD(size, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of StatfsOut", "[layout]") {
  LAYOUT(StatfsOut, 80);
  INNER(st, 0, 80);
  END_LAYOUT();
}

TEST_CASE("layout of GetxattrOut", "[layout]") {
  LAYOUT(GetxattrOut, 8);
  FIELD(size, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of LkOut", "[layout]") {
  LAYOUT(LkOut, 24);
  INNER(lk, 0, 24);
  END_LAYOUT();
}

TEST_CASE("layout of InitOut", "[layout]") {
  LAYOUT(InitOut, 64);
  FIELD(major, 0, 4);
  FIELD(minor, 4, 4);
  FIELD(max_readahead, 8, 4);
  FIELD(flags, 12, 4);
  FIELD(max_background, 16, 2);
  FIELD(congestion_threshold, 18, 2);
  FIELD(max_write, 20, 4);
  FIELD(time_gran, 24, 4);
  FIELD(max_pages, 28, 2);
  FIELD(map_alignment, 30, 2);
  FIELD(flags2, 32, 4);
  FIELD(max_stack_depth, 36, 4);
  FIELD(request_timeout, 40, 2);
  INNER(unused, 42, 22);
  END_LAYOUT();
}

TEST_CASE("layout of CuseInitOut", "[layout]") {
  LAYOUT(CuseInitOut, 72);
  FIELD(major, 0, 4);
  FIELD(minor, 4, 4);
  FIELD(unused, 8, 4);
  FIELD(flags, 12, 4);
  FIELD(max_read, 16, 4);
  FIELD(max_write, 20, 4);
  FIELD(dev_major, 24, 4);
  FIELD(dev_minor, 28, 4);
  INNER(spare, 32, 40);
  END_LAYOUT();
}

TEST_CASE("layout of BmapOut", "[layout]") {
  LAYOUT(BmapOut, 8);
  FIELD(block, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of IoctlOut", "[layout]") {
  LAYOUT(IoctlOut, 16);
  FIELD(result, 0, 4);
  FIELD(flags, 4, 4);
  FIELD(in_iovs, 8, 4);
  FIELD(out_iovs, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of PollOut", "[layout]") {
  LAYOUT(PollOut, 8);
  FIELD(revents, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyPollWakeupOut", "[layout]") {
  LAYOUT(NotifyPollWakeupOut, 8);
  FIELD(kh, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of InHeader", "[layout]") {
  LAYOUT(InHeader, 40);
  FIELD(len, 0, 4);
  FIELD(opcode, 4, 4);
  FIELD(unique, 8, 8);
  FIELD(nodeid, 16, 8);
  FIELD(uid, 24, 4);
  FIELD(gid, 28, 4);
  FIELD(pid, 32, 4);
  FIELD(total_extlen, 36, 2);
  FIELD(padding, 38, 2);
  END_LAYOUT();
}

TEST_CASE("layout of OutHeader", "[layout]") {
  LAYOUT(OutHeader, 16);
  FIELD(len, 0, 4);
  FIELD(error, 4, 4);
  FIELD(unique, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of Dirent", "[layout]") {
  LAYOUT(Dirent, 24);
  FIELD(ino, 0, 8);
  FIELD(off, 8, 8);
  FIELD(namelen, 16, 4);
  FIELD(type, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of Direntplus", "[layout]") {
  LAYOUT(Direntplus, 152);
  INNER(entry_out, 0, 128);
  INNER(dirent, 128, 24);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyInvalInodeOut", "[layout]") {
  LAYOUT(NotifyInvalInodeOut, 24);
  FIELD(ino, 0, 8);
  FIELD(off, 8, 8);
  FIELD(len, 16, 8);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyInvalEntryOut", "[layout]") {
  LAYOUT(NotifyInvalEntryOut, 16);
  FIELD(parent, 0, 8);
  FIELD(namelen, 8, 4);
  FIELD(flags, 12, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyDeleteOut", "[layout]") {
  LAYOUT(NotifyDeleteOut, 24);
  FIELD(parent, 0, 8);
  FIELD(child, 8, 8);
  FIELD(namelen, 16, 4);
  FIELD(padding, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyStoreOut", "[layout]") {
  LAYOUT(NotifyStoreOut, 24);
  FIELD(nodeid, 0, 8);
  FIELD(offset, 8, 8);
  FIELD(size, 16, 4);
  FIELD(padding, 20, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyRetrieveOut", "[layout]") {
  LAYOUT(NotifyRetrieveOut, 32);
  FIELD(notify_unique, 0, 8);
  FIELD(nodeid, 8, 8);
  FIELD(offset, 16, 8);
  FIELD(size, 24, 4);
  FIELD(padding, 28, 4);
  END_LAYOUT();
}

TEST_CASE("layout of NotifyPruneOut", "[layout]") {
  LAYOUT(NotifyPruneOut, 16);
  FIELD(count, 0, 4);
  FIELD(padding, 4, 4);
  FIELD(spare, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of BackingMap", "[layout]") {
  LAYOUT(BackingMap, 16);
  FIELD(fd, 0, 4);
  FIELD(flags, 4, 4);
  FIELD(padding, 8, 8);
  END_LAYOUT();
}

TEST_CASE("layout of LseekOut", "[layout]") {
  LAYOUT(LseekOut, 8);
  FIELD(offset, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of CopyFileRangeOut", "[layout]") {
  LAYOUT(CopyFileRangeOut, 8);
  FIELD(bytes_copied, 0, 8);
  END_LAYOUT();
}

TEST_CASE("layout of Secctx", "[layout]") {
  LAYOUT(Secctx, 8);
  FIELD(size, 0, 4);
  FIELD(padding, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of SecctxHeader", "[layout]") {
  LAYOUT(SecctxHeader, 8);
  FIELD(size, 0, 4);
  FIELD(nr_secctx, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of ExtHeader", "[layout]") {
  LAYOUT(ExtHeader, 8);
  FIELD(size, 0, 4);
  FIELD(type, 4, 4);
  END_LAYOUT();
}

TEST_CASE("layout of SuppGroups", "[layout]") {
  LAYOUT(SuppGroups, 4);
  FIELD(nr_groups, 0, 4);
  END_LAYOUT();
}

TEST_CASE("layout of UringEntInOut", "[layout]") {
  LAYOUT(UringEntInOut, 32);
  FIELD(flags, 0, 8);
  FIELD(commit_id, 8, 8);
  FIELD(payload_sz, 16, 4);
  FIELD(padding, 20, 4);
  FIELD(reserved, 24, 8);
  END_LAYOUT();
}

TEST_CASE("layout of UringReqHeader", "[layout]") {
  LAYOUT(UringReqHeader, 288);
  INNER(in_out, 0, 128);
  INNER(op_in, 128, 128);
  INNER(ring_ent_in_out, 256, 32);
  END_LAYOUT();
}

TEST_CASE("layout of UringCmdReq", "[layout]") {
  LAYOUT(UringCmdReq, 24);
  FIELD(flags, 0, 8);
  FIELD(commit_id, 8, 8);
  FIELD(qid, 16, 2);
  INNER(padding, 18, 6);
  END_LAYOUT();
}

}  // namespace
}  // namespace handlefs::test
