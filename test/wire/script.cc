#include "script.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace handlefs::test {
namespace {

using proto::Opcode;

struct Context {
  const Scene& scene;
  std::string fresh;  // a name that is not there yet
};

struct Maker {
  Opcode op;
  Message (*make)(const Context&);
};

abi::ReadIn ReadOf(uint64_t fh) {
  abi::ReadIn in{};
  in.fh = fh;
  in.size = 4096;
  return in;
}
abi::CopyFileRangeIn CopyOf(const Scene& scene) {
  abi::CopyFileRangeIn in{};
  in.fh_in = scene.fh;
  in.nodeid_out = scene.other;
  in.fh_out = scene.other_fh;
  in.len = 4;
  return in;
}
abi::LkIn LockOf(const Scene& scene, uint32_t type) {
  abi::LkIn in{};
  in.fh = scene.fh;
  in.owner = 7;
  in.lk = {.start = 0, .end = 9, .type = type, .pid = 1};
  return in;
}
abi::FsyncIn FsyncOf(uint64_t fh) {
  return {.fh = fh, .fsync_flags = 0, .padding = 0};
}
abi::ReleaseIn ReleaseOf(uint64_t fh) {
  abi::ReleaseIn in{};
  in.fh = fh;
  return in;
}
abi::CreateIn CreateOf(uint32_t flags) {
  return {.flags = O_RDWR | flags,
          .mode = S_IFREG | 0644,
          .umask = 022,
          .open_flags = 0};
}

const Maker kMakers[] = {
    {Opcode::kLookup,
     [](const Context& c) {
       return Message(Opcode::kLookup, c.scene.dir).Name("inner");
     }},
    {Opcode::kForget,
     [](const Context& c) {
       return Message(Opcode::kForget, c.scene.link)
           .Put(abi::ForgetIn{.nlookup = 1});
     }},
    {Opcode::kGetattr,
     [](const Context& c) {
       return Message(Opcode::kGetattr, c.scene.file).Put(abi::GetattrIn{});
     }},
    {Opcode::kSetattr,
     [](const Context& c) {
       abi::SetattrIn in{};
       in.valid = proto::fattr::kMode;
       in.mode = 0600;
       return Message(Opcode::kSetattr, c.scene.file).Put(in);
     }},
    {Opcode::kReadlink,
     [](const Context& c) { return Message(Opcode::kReadlink, c.scene.link); }},
    {Opcode::kSymlink,
     [](const Context& c) {
       return Message(Opcode::kSymlink, c.scene.dir)
           .Name(c.fresh)
           .Name("target");
     }},
    {Opcode::kMknod,
     [](const Context& c) {
       return Message(Opcode::kMknod, c.scene.dir)
           .Put(abi::MknodIn{
               .mode = S_IFREG | 0644, .rdev = 0, .umask = 022, .padding = 0})
           .Name(c.fresh);
     }},
    {Opcode::kMkdir,
     [](const Context& c) {
       return Message(Opcode::kMkdir, c.scene.dir)
           .Put(abi::MkdirIn{.mode = 0755, .umask = 022})
           .Name(c.fresh);
     }},
    {Opcode::kUnlink,
     [](const Context& c) {
       return Message(Opcode::kUnlink, c.scene.dir).Name("inner");
     }},
    {Opcode::kRmdir,
     [](const Context& c) {
       return Message(Opcode::kRmdir, c.scene.dir).Name("empty");
     }},
    {Opcode::kRename,
     [](const Context& c) {
       return Message(Opcode::kRename, c.scene.dir)
           .Put(abi::RenameIn{.newdir = c.scene.dir})
           .Name("inner")
           .Name(c.fresh);
     }},
    {Opcode::kLink,
     [](const Context& c) {
       return Message(Opcode::kLink, c.scene.dir)
           .Put(abi::LinkIn{.oldnodeid = c.scene.file})
           .Name(c.fresh);
     }},
    {Opcode::kOpen,
     [](const Context& c) {
       return Message(Opcode::kOpen, c.scene.file)
           .Put(abi::OpenIn{.flags = O_RDWR, .open_flags = 0});
     }},
    {Opcode::kRead,
     [](const Context& c) {
       return Message(Opcode::kRead, c.scene.file).Put(ReadOf(c.scene.fh));
     }},
    {Opcode::kWrite,
     [](const Context& c) {
       abi::WriteIn in{};
       in.fh = c.scene.fh;
       in.size = 5;
       return Message(Opcode::kWrite, c.scene.file).Put(in).Data("hello");
     }},
    {Opcode::kStatfs,
     [](const Context& c) { return Message(Opcode::kStatfs, c.scene.dir); }},
    {Opcode::kRelease,
     [](const Context& c) {
       return Message(Opcode::kRelease, c.scene.file)
           .Put(ReleaseOf(c.scene.fh));
     }},
    {Opcode::kFsync,
     [](const Context& c) {
       return Message(Opcode::kFsync, c.scene.file).Put(FsyncOf(c.scene.fh));
     }},
    {Opcode::kSetxattr,
     [](const Context& c) {
       abi::SetxattrIn in{};
       in.size = 5;
       return Message(Opcode::kSetxattr, c.scene.file)
           .Put(in)
           .Name("user.script")
           .Data("value");
     }},
    {Opcode::kGetxattr,
     [](const Context& c) {
       return Message(Opcode::kGetxattr, c.scene.file)
           .Put(abi::GetxattrIn{.size = 100, .padding = 0})
           .Name("user.script");
     }},
    {Opcode::kListxattr,
     [](const Context& c) {
       return Message(Opcode::kListxattr, c.scene.file)
           .Put(abi::GetxattrIn{.size = 4096, .padding = 0});
     }},
    {Opcode::kRemovexattr,
     [](const Context& c) {
       return Message(Opcode::kRemovexattr, c.scene.file).Name("user.script");
     }},
    {Opcode::kFlush,
     [](const Context& c) {
       abi::FlushIn in{};
       in.fh = c.scene.fh;
       return Message(Opcode::kFlush, c.scene.file).Put(in);
     }},
    {Opcode::kInit,
     [](const Context&) {
       return FakeKernel::InitMessage(7, 45, OfferedFlags());
     }},
    {Opcode::kOpendir,
     [](const Context& c) {
       return Message(Opcode::kOpendir, c.scene.dir).Put(abi::OpenIn{});
     }},
    {Opcode::kReaddir,
     [](const Context& c) {
       return Message(Opcode::kReaddir, c.scene.dir)
           .Put(ReadOf(c.scene.dir_fh));
     }},
    {Opcode::kReleasedir,
     [](const Context& c) {
       return Message(Opcode::kReleasedir, c.scene.dir)
           .Put(ReleaseOf(c.scene.dir_fh));
     }},
    {Opcode::kFsyncdir,
     [](const Context& c) {
       return Message(Opcode::kFsyncdir, c.scene.dir)
           .Put(FsyncOf(c.scene.dir_fh));
     }},
    {Opcode::kGetlk,
     [](const Context& c) {
       return Message(Opcode::kGetlk, c.scene.file)
           .Put(LockOf(c.scene, F_WRLCK));
     }},
    {Opcode::kSetlk,
     [](const Context& c) {
       return Message(Opcode::kSetlk, c.scene.file)
           .Put(LockOf(c.scene, F_WRLCK));
     }},
    {Opcode::kSetlkw,
     [](const Context& c) {
       return Message(Opcode::kSetlkw, c.scene.file)
           .Put(LockOf(c.scene, F_UNLCK));
     }},
    {Opcode::kAccess,
     [](const Context& c) {
       return Message(Opcode::kAccess, c.scene.file)
           .Put(abi::AccessIn{.mask = R_OK, .padding = 0});
     }},
    {Opcode::kCreate,
     [](const Context& c) {
       return Message(Opcode::kCreate, c.scene.dir)
           .Put(CreateOf(O_CREAT))
           .Name(c.fresh);
     }},
    {Opcode::kInterrupt,
     [](const Context&) {
       return Message(Opcode::kInterrupt, 0).Put(abi::InterruptIn{.unique = 2});
     }},
    {Opcode::kBmap,
     [](const Context& c) {
       return Message(Opcode::kBmap, c.scene.file).Put(abi::BmapIn{});
     }},
    {Opcode::kDestroy,
     [](const Context&) { return Message(Opcode::kDestroy, 0); }},
    {Opcode::kIoctl,
     [](const Context& c) {
       abi::IoctlIn in{};
       in.fh = c.scene.fh;
       in.cmd = 0x80086601;  // FS_IOC_GETFLAGS
       in.out_size = 4;
       return Message(Opcode::kIoctl, c.scene.file).Put(in);
     }},
    {Opcode::kPoll,
     [](const Context& c) {
       abi::PollIn in{};
       in.fh = c.scene.fh;
       return Message(Opcode::kPoll, c.scene.file).Put(in);
     }},
    {Opcode::kNotifyReply,
     [](const Context& c) {
       return Message(Opcode::kNotifyReply, c.scene.file)
           .Put(abi::NotifyRetrieveIn{})
           .Data("data");
     }},
    {Opcode::kBatchForget,
     [](const Context& c) {
       return Message(Opcode::kBatchForget, 0)
           .Put(abi::BatchForgetIn{.count = 2, .dummy = 0})
           .Put(abi::ForgetOne{.nodeid = c.scene.link, .nlookup = 1})
           .Put(abi::ForgetOne{.nodeid = 77, .nlookup = 1});
     }},
    {Opcode::kFallocate,
     [](const Context& c) {
       abi::FallocateIn in{};
       in.fh = c.scene.fh;
       in.length = 100;
       return Message(Opcode::kFallocate, c.scene.file).Put(in);
     }},
    {Opcode::kReaddirplus,
     [](const Context& c) {
       return Message(Opcode::kReaddirplus, c.scene.dir)
           .Put(ReadOf(c.scene.dir_fh));
     }},
    {Opcode::kRename2,
     [](const Context& c) {
       return Message(Opcode::kRename2, c.scene.dir)
           .Put(abi::Rename2In{
               .newdir = c.scene.dir, .flags = RENAME_NOREPLACE, .padding = 0})
           .Name("inner")
           .Name(c.fresh);
     }},
    {Opcode::kLseek,
     [](const Context& c) {
       abi::LseekIn in{};
       in.fh = c.scene.fh;
       in.whence = SEEK_DATA;
       return Message(Opcode::kLseek, c.scene.file).Put(in);
     }},
    {Opcode::kCopyFileRange,
     [](const Context& c) {
       return Message(Opcode::kCopyFileRange, c.scene.file)
           .Put(CopyOf(c.scene));
     }},
    {Opcode::kSetupmapping,
     [](const Context& c) {
       return Message(Opcode::kSetupmapping, c.scene.file)
           .Put(abi::SetupmappingIn{});
     }},
    {Opcode::kRemovemapping,
     [](const Context& c) {
       return Message(Opcode::kRemovemapping, c.scene.file)
           .Put(abi::RemovemappingIn{.count = 1})
           .Put(abi::RemovemappingOne{});
     }},
    {Opcode::kSyncfs,
     [](const Context&) {
       return Message(Opcode::kSyncfs, 1).Put(abi::SyncfsIn{});
     }},
    {Opcode::kTmpfile,
     [](const Context& c) {
       return Message(Opcode::kTmpfile, c.scene.dir)
           .Put(CreateOf(O_TMPFILE))
           .Name("/");
     }},
    {Opcode::kStatx,
     [](const Context& c) {
       abi::StatxIn in{};
       in.sx_mask = 0xfff;
       return Message(Opcode::kStatx, c.scene.file).Put(in);
     }},
    {Opcode::kCopyFileRange64,
     [](const Context& c) {
       return Message(Opcode::kCopyFileRange64, c.scene.file)
           .Put(CopyOf(c.scene));
     }},
    {Opcode::kCompound,
     [](const Context& c) {
       return Message(Opcode::kCompound, 0)
           .Put(abi::CompoundV7{})
           .Put(abi::CompoundSubV7{.dep_index = 0xff, .reserved = {}})
           .Put(abi::InHeader{.len = 56,
                              .opcode = 3,
                              .unique = 0,
                              .nodeid = c.scene.file,
                              .uid = 0,
                              .gid = 0,
                              .pid = 0,
                              .total_extlen = 0,
                              .padding = 0})
           .Put(abi::GetattrIn{});
     }},
    {Opcode::kLookupHandle,
     [](const Context& c) {
       return Message(Opcode::kLookupHandle, c.scene.dir).Name("inner");
     }},
    {Opcode::kMkobjHandle,
     [](const Context& c) {
       return Message(Opcode::kMkobjHandle, c.scene.dir)
           .Put(CreateOf(O_RDWR))
           .Name(c.fresh);
     }},
    {Opcode::kCuseInit,
     [](const Context&) {
       return Message(Opcode::kCuseInit, 0).Put(abi::CuseInitIn{});
     }},
};
static_assert(std::size(kMakers) == proto::kOpRows);

}  // namespace

Scene MakeScene(const TempTree& tree, FakeKernel& kernel) {
  std::filesystem::create_directories(tree.Path("dir/empty"));
  tree.Write("dir/inner", "inner");
  tree.Write("file", "0123456789");
  tree.Write("other", "other");
  std::filesystem::create_symlink("file", tree.Path("link"));
  Scene scene;
  scene.dir = kernel.Node(1, "dir");
  scene.file = kernel.Node(1, "file");
  scene.other = kernel.Node(1, "other");
  scene.link = kernel.Node(1, "link");
  scene.fh = kernel.OpenFh(scene.file, O_RDWR);
  scene.other_fh = kernel.OpenFh(scene.other, O_RDWR);
  scene.dir_fh = kernel.Opendir(scene.dir).Get<abi::OpenOut>().fh;
  return scene;
}

Message GoodMessage(const proto::OpRow& row, const Scene& scene, int serial) {
  Context context{.scene = scene, .fresh = "new" + std::to_string(serial)};
  auto maker =
      std::find_if(std::begin(kMakers), std::end(kMakers),
                   [&row](const Maker& maker) { return maker.op == row.op; });
  return maker->make(context);
}

bool IsLeftOut(Opcode op) {
  static constexpr Opcode kLeftOut[] = {
      Opcode::kPoll,          Opcode::kBmap,     Opcode::kSetupmapping,
      Opcode::kRemovemapping, Opcode::kCompound, Opcode::kLookupHandle,
      Opcode::kMkobjHandle,   Opcode::kCuseInit};
  return std::find(std::begin(kLeftOut), std::end(kLeftOut), op) !=
         std::end(kLeftOut);
}

bool IsOfSession(Opcode op) {
  return op == Opcode::kInit || op == Opcode::kDestroy;
}

}  // namespace handlefs::test
