// What the server does for each request. An op reads from top to bottom:
// resolve, credentials, system call, translate, return. It neither logs nor
// counts; dispatch does.
//
// Results: a struct is the reply; Status is a bare header; with a ReplyBuffer
// the op writes its data there. kWouldWait asks to be called again on a thread
// that may wait; such an op has changed nothing. Ops run on any thread, several
// at a time.
#ifndef HANDLEFS_DAEMON_OPS_H_
#define HANDLEFS_DAEMON_OPS_H_

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "daemon/attributes.h"
#include "daemon/backings.h"
#include "daemon/credentials.h"
#include "daemon/lock_waiters.h"
#include "daemon/restart/journal.h"
#include "handles/nodes.h"
#include "handles/open_files.h"
#include "handles/owner_locks.h"
#include "io/offload.h"
#include "io/transport.h"
#include "proto/cursor.h"
#include "proto/dialect.h"
#include "proto/flags.h"
#include "proto/reply.h"

namespace handlefs {

// Where an op runs: a reader may not wait, a pool thread may.
enum class Place { kReader, kPool };

// What the ops of one compound hand to each other.
struct Chain {
  // The file that MKOBJ_HANDLE just made, for the OPEN behind it, whose own
  // flags are not the caller's (RFC v3).
  UniqueFd made;
  int made_flags = 0;
};

struct OpContext {
  Place place = Place::kReader;
  Chain* chain = nullptr;  // set in a compound
  // Never null: what must not be done twice marks itself here.
  Intent* intent = nullptr;
};

// Settled by options and INIT before the first op.
struct Policy {
  Validity entry;           // of names
  Validity attr;            // of attributes
  Validity negative;        // of missing names; zero: not cached
  bool keep_cache = false;  // pages and directory pages outlive an open
  bool passthrough = false;
  // OPENDIR and RELEASEDIR are not sent; each request opens its directory.
  bool no_opendir = false;
  bool host_locks = true;
  bool loses_interrupts = false;  // pending_signal.h
  bool exported = false;
  proto::EntryShape entry_shape = proto::EntryShape::kNone;
};

inline Caller CallerOf(const abi::InHeader& header) {
  return {.uid = header.uid, .gid = header.gid, .pid = header.pid};
}

template <proto::Opcode kOp>
using Req = proto::Request<kOp>;
using proto::Opcode;
using proto::ReplyBuffer;

class Ops {
 public:
  // `vault`: null if locks end with the server.
  Ops(Nodes& nodes, OpenFiles& files, io::Connection& connection, Vault* vault);

  // What earlier servers left, before the first request. `highest` is the
  // largest backing id that one of them had.
  void Restore(std::atomic<uint64_t>& highest);

  Policy& policy() { return policy_; }
  LockWaiters& waiters() { return waiters_; }
  Backings& backings() { return backings_; }

  // ops_name.cc
  Result<abi::EntryOut> Lookup(OpContext, const Req<Opcode::kLookup>&);
  Status LookupHandle(OpContext, const Req<Opcode::kLookupHandle>&,
                      ReplyBuffer&);
  void Forget(OpContext, const Req<Opcode::kForget>&);
  void BatchForget(OpContext, const Req<Opcode::kBatchForget>&);
  Result<abi::EntryOut> Symlink(OpContext, const Req<Opcode::kSymlink>&);
  Result<abi::EntryOut> Mknod(OpContext, const Req<Opcode::kMknod>&);
  Result<abi::EntryOut> Mkdir(OpContext, const Req<Opcode::kMkdir>&);
  Result<abi::EntryOut> Link(OpContext, const Req<Opcode::kLink>&);
  Status Unlink(OpContext, const Req<Opcode::kUnlink>&);
  Status Rmdir(OpContext, const Req<Opcode::kRmdir>&);
  Status Rename(OpContext, const Req<Opcode::kRename>&);
  Status Rename2(OpContext, const Req<Opcode::kRename2>&);

  // ops_attr.cc
  Result<abi::AttrOut> Getattr(OpContext, const Req<Opcode::kGetattr>&);
  Result<abi::AttrOut> Setattr(OpContext, const Req<Opcode::kSetattr>&);
  Result<abi::StatxOut> Statx(OpContext, const Req<Opcode::kStatx>&);
  Status Readlink(OpContext, const Req<Opcode::kReadlink>&, ReplyBuffer&);
  Status Access(OpContext, const Req<Opcode::kAccess>&);
  Result<abi::StatfsOut> Statfs(OpContext, const Req<Opcode::kStatfs>&);

  // ops_file.cc
  Result<abi::OpenOut> Open(OpContext, const Req<Opcode::kOpen>&);
  Result<abi::CreateOut> Create(OpContext, const Req<Opcode::kCreate>&);
  Result<abi::CreateOut> Tmpfile(OpContext, const Req<Opcode::kTmpfile>&);
  Status MkobjHandle(OpContext, const Req<Opcode::kMkobjHandle>&, ReplyBuffer&);
  Status Flush(OpContext, const Req<Opcode::kFlush>&);
  Status Release(OpContext, const Req<Opcode::kRelease>&);
  Status Fsync(OpContext, const Req<Opcode::kFsync>&);
  Status Syncfs(OpContext, const Req<Opcode::kSyncfs>&);

  // ops_data.cc
  Status Read(OpContext, const Req<Opcode::kRead>&, ReplyBuffer&);
  Result<abi::WriteOut> Write(OpContext, const Req<Opcode::kWrite>&);
  Status Fallocate(OpContext, const Req<Opcode::kFallocate>&);
  Result<abi::LseekOut> Lseek(OpContext, const Req<Opcode::kLseek>&);
  Result<abi::WriteOut> CopyFileRange(OpContext,
                                      const Req<Opcode::kCopyFileRange>&);
  Result<abi::CopyFileRangeOut> CopyFileRange64(
      OpContext, const Req<Opcode::kCopyFileRange64>&);
  Status Ioctl(OpContext, const Req<Opcode::kIoctl>&, ReplyBuffer&);

  // ops_dir.cc
  Result<abi::OpenOut> Opendir(OpContext, const Req<Opcode::kOpendir>&);
  Status Readdir(OpContext, const Req<Opcode::kReaddir>&, ReplyBuffer&);
  Status Readdirplus(OpContext, const Req<Opcode::kReaddirplus>&, ReplyBuffer&);
  Status Releasedir(OpContext, const Req<Opcode::kReleasedir>&);
  Status Fsyncdir(OpContext, const Req<Opcode::kFsyncdir>&);

  // ops_xattr.cc
  Status Setxattr(OpContext, const Req<Opcode::kSetxattr>&);
  Status Getxattr(OpContext, const Req<Opcode::kGetxattr>&, ReplyBuffer&);
  Status Listxattr(OpContext, const Req<Opcode::kListxattr>&, ReplyBuffer&);
  Status Removexattr(OpContext, const Req<Opcode::kRemovexattr>&);

  // ops_lock.cc
  Result<abi::LkOut> Getlk(OpContext, const Req<Opcode::kGetlk>&);
  Status Setlk(OpContext, const Req<Opcode::kSetlk>&);
  // EAGAIN: it has to wait, and is given to WaitForLock.
  Status Setlkw(OpContext, const Req<Opcode::kSetlkw>&);
  void WaitForLock(const Req<Opcode::kSetlkw>&, io::LateReply);

  // Takes back what an op gave that succeeded with this payload and whose reply
  // the kernel throws away: the lookup, the open file; and with kNames what it
  // made (MKDIR, MKNOD, SYMLINK, LINK, CREATE, MKOBJ_HANDLE).
  enum class Undo { kReferences, kNames };
  void TakeBack(const proto::RawRequest& request, proto::Bytes payload,
                Undo what);

 private:
  using FilePtr = std::shared_ptr<OpenFile>;

  // The open file of a request. EBADF for an fh that this server gave out and
  // that is closed; one of an earlier server is opened again from its node.
  Result<FilePtr> FileOf(Fh fh, NodeId node, uint32_t open_flags);
  Result<FilePtr> Woken(Fh fh, const OpenFile& asleep);
  abi::EntryOut ToEntryOut(const Nodes::Entry& entry);
  // The reply of LOOKUP_HANDLE and MKOBJ_HANDLE in the dialect's shape.
  void PutEntry(const Nodes::Entry& entry, ReplyBuffer& out);
  Result<Nodes::Entry> LookupDots(NodeId node, bool self);
  // Makes a file that was not there and opens it; ESTALE where one is.
  Result<UniqueFd> MakeFile(OpContext context, BorrowedFd dir, const char* name,
                            const abi::CreateIn& in,
                            const abi::InHeader& caller,
                            const proto::Extensions& ext);
  // Best effort: removes the name of a file that was just made and that the
  // kernel will not learn of.
  static void Unmake(BorrowedFd dir, const char* name, BorrowedFd file);
  Validity AttrValidity(NodeId node);
  Result<abi::AttrOut> AttrOf(NodeId node, BorrowedFd fd);
  Status ApplyContext(const proto::Extensions& ext, BorrowedFd dir,
                      const char* name, mode_t type);
  // The answer to a request that has just made a file of the type as `name`.
  Result<abi::EntryOut> Made(OpContext context, BorrowedFd dir_fd, NodeId dir,
                             const char* name, mode_t type,
                             const proto::Extensions& ext);
  // Of what was made and is not there any more: a node that nothing is behind,
  // and that is looked up again by whoever meets its name.
  static abi::EntryOut GoneEntry(OpContext context, mode_t type);
  // The answer to a request that has just linked `node`.
  Result<abi::EntryOut> Linked(NodeId node, BorrowedFd file, NodeId dir,
                               const char* name);
  Status Move(OpContext context, NodeId from, const char* from_name, NodeId to,
              const char* to_name, uint32_t flags, const abi::InHeader& header);
  Result<abi::OpenOut> Opened(OpContext context, NodeId node, UniqueFd fd,
                              int flags, uint32_t mode);
  Result<abi::CreateOut> Created(OpContext context, const Nodes::Entry& entry,
                                 UniqueFd fd, int flags);
  // Stores through a mapping of a passthrough file move its times unseen by the
  // kernel's FUSE side: it is told to ask again.
  void ForgetTimes(const OpenFile& file);
  Status SetSize(const Req<Opcode::kSetattr>& request, BorrowedFd path);
  Status SetOwnerModeTimes(const Req<Opcode::kSetattr>& request,
                           BorrowedFd path);
  // What came directly before, by the same thread. The kernel removes
  // capabilities before it announces a write.
  enum class Before { kOther, kLostCapability };
  Status SetNothing(const Req<Opcode::kSetattr>& request, BorrowedFd path,
                    Before before);
  Result<uint64_t> Copy(OpContext context, const abi::InHeader& caller,
                        const abi::CopyFileRangeIn& in, uint64_t limit);
  // One try; who waits for what was let go is woken.
  Status LockNow(const abi::InHeader& header, const abi::LkIn& in);
  Status SetLock(const abi::InHeader& header, const abi::LkIn& in,
                 const FilePtr& file);
  // An open file of which the kernel never learned.
  void CloseUnused(Fh fh);
  // It was removed from the open files.
  void Close(const OpenFile& file);
  // A request that opens something came again: what it opened the first time
  // was never answered, and is not wanted.
  void CloseEarlier(OpContext context);
  // Whether the request that came again has made `name` already: it is of the
  // type, the caller's, and was born since then. (Clients of the mount cannot
  // have made it: the kernel has held the directory for the request all the
  // time.)
  bool MadeEarlier(OpContext context, BorrowedFd dir, const char* name,
                   mode_t type, uid_t caller) const;
  // The same of a file that has an O_PATH descriptor.
  static bool IsMadeSince(const Journal::Earlier& earlier, BorrowedFd file,
                          const char* name, mode_t type, uid_t caller);
  // Opens the file that the request made already; null if it made none.
  Result<UniqueFd> OpenMadeEarlier(OpContext context, BorrowedFd dir,
                                   const char* name, int flags,
                                   uid_t caller) const;
  Status Remove(OpContext context, NodeId dir, const char* name, int flags);
  // The value's size; with an empty `out` it is not read.
  Result<size_t> XattrOf(NodeId node, const char* name,
                         std::span<std::byte> out);
  Result<FilePtr> DirOf(Fh fh, NodeId node);

  Nodes& nodes_;
  OpenFiles& files_;
  io::Connection& connection_;
  Policy policy_;
  Backings backings_;
  OwnerLocks locks_;
  void NoteLostCapability(NodeId node, uint32_t pid);
  Before TakeBefore(NodeId node, uint32_t pid);
  struct LostCapability {
    NodeId node = kNoNode;
    uint32_t pid = 0;
    absl::Time when;
  };
  absl::Mutex lost_mutex_;
  std::atomic<bool> any_lost_{false};
  // By the hash of the node.
  std::array<LostCapability, 64> lost_ ABSL_GUARDED_BY(lost_mutex_);
  LockWaiters waiters_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPS_H_
