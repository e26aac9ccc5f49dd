// Open files and what is in them.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <unistd.h>

#include "served.h"

namespace handlefs::test {
namespace {

namespace fs = std::filesystem;

struct OpenedFile : Served {
  explicit OpenedFile(std::string_view content = "hello, world") {
    tree.Write("a", content);
    node = kernel.Node(kRoot, "a");
    fh = kernel.OpenFh(node, O_RDWR);
  }
  uint64_t node;
  uint64_t fh;
};

TEST_CASE("READ", "[data]") {
  OpenedFile f;
  CHECK(f.kernel.Read(f.node, f.fh, 0, 4096).payload == "hello, world");
  CHECK(f.kernel.Read(f.node, f.fh, 7, 3).payload == "wor");
  CHECK(f.kernel.Read(f.node, f.fh, 12, 100).payload.empty());
  CHECK(f.kernel.Read(f.node, f.fh, 1 << 30, 100).payload.empty());
  CHECK(f.kernel.Read(f.node, f.fh, 0, 0).payload.empty());
  // No file has such an offset.
  CHECK(ErrorOf(f.kernel.Read(f.node, f.fh, ~uint64_t{0}, 10)) == EINVAL);
}

TEST_CASE("READ never gives more than was announced", "[data]") {
  const std::string content((1 << 20) + 300000, 'r');
  OpenedFile f(content);
  size_t most = f.kernel.init().max_write;
  for (uint32_t size :
       {1u << 20, (1u << 20) + 4096, 0x7fffffffu, 0xffffffffu}) {
    Answer answer = f.kernel.Read(f.node, f.fh, 0, size);
    CAPTURE(size);
    CHECK(answer.payload.size() <= std::max<size_t>(most, 1 << 20));
    CHECK((!answer.ok() ||
           answer.payload == content.substr(0, answer.payload.size())));
  }
}

TEST_CASE("WRITE", "[data]") {
  OpenedFile f;
  Answer answer = f.kernel.Write(f.node, f.fh, 7, "there");
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::WriteOut>().size == 5);
  CHECK(f.tree.Read("a") == "hello, there");
  answer = f.kernel.Write(f.node, f.fh, 14, "!");
  CHECK(answer.ok());
  CHECK(f.tree.Read("a") == std::string("hello, there\0\0!", 15));
  CHECK(f.kernel.Write(f.node, f.fh, 0, "").Get<abi::WriteOut>().size == 0);
  CHECK(ErrorOf(f.kernel.Write(f.node, f.fh, ~uint64_t{0}, "x")) != 0);
}

TEST_CASE("WRITE of as much as was announced", "[data]") {
  OpenedFile f;
  std::string data(f.kernel.init().max_write, 'w');
  for (size_t i = 0; i < data.size(); i += 1000) data[i] = 'x';
  Answer answer = f.kernel.Write(f.node, f.fh, 0, data);
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::WriteOut>().size == data.size());
  CHECK((f.tree.Read("a") == data));
}

TEST_CASE("a message larger than any request is answered EIO", "[data]") {
  OpenedFile f;
  std::string data(f.kernel.init().max_write + 65536, 'w');
  CHECK(ErrorOf(f.kernel.Write(f.node, f.fh, 0, data)) == EIO);
  f.kernel.Barrier();
  CHECK(f.tree.Read("a") == "hello, world");
}

TEST_CASE("a size that is not the data's is refused", "[data]") {
  OpenedFile f;
  for (uint32_t said : {4u, 6u, 0u, 4096u, 0x7fffffffu, 0xffffffffu}) {
    abi::WriteIn in{};
    in.fh = f.fh;
    in.size = said;
    CAPTURE(said);
    Answer answer =
        f.kernel.Call(Message(Opcode::kWrite, f.node).Put(in).Data("12345"));
    CHECK(ErrorOf(answer) == EINVAL);
  }
  CHECK(f.tree.Read("a") == "hello, world");
}

TEST_CASE("an open file is what it was opened for", "[data]") {
  OpenedFile f;
  uint64_t read_only = f.kernel.OpenFh(f.node, O_RDONLY);
  uint64_t write_only = f.kernel.OpenFh(f.node, O_WRONLY);
  CHECK(ErrorOf(f.kernel.Write(f.node, read_only, 0, "x")) == EBADF);
  CHECK(ErrorOf(f.kernel.Read(f.node, write_only, 0, 10)) == EBADF);
  CHECK(f.tree.Read("a") == "hello, world");
}

TEST_CASE("OPEN", "[data]") {
  OpenedFile f;
  Answer answer = f.kernel.Open(f.node, O_RDONLY);
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::OpenOut>().fh != f.fh);
  CHECK(answer.Get<abi::OpenOut>().backing_id == 0);
  CHECK((answer.Get<abi::OpenOut>().open_flags & proto::fopen::kPassthrough) ==
        0);
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(f.kernel.Open(node, O_RDONLY)) == ESTALE);
  }
  if (f.kernel.granted().Has(proto::init::kAtomicOTrunc)) {
    CHECK(f.kernel.Open(f.node, O_RDWR | O_TRUNC).ok());
    CHECK(f.tree.Read("a").empty());
  }
}

TEST_CASE("OPEN does not make files", "[data]") {
  OpenedFile f;
  // Neither does the kernel send these flags to OPEN.
  f.kernel.Open(kRoot, O_RDWR | O_CREAT);
  f.kernel.Open(kRoot, O_RDWR | O_TMPFILE);
  f.kernel.Open(f.node, O_RDWR | O_CREAT | O_EXCL);
  f.kernel.Open(f.node, 0xffffffff & ~unsigned{O_TRUNC});
  f.kernel.Barrier();
  CHECK(f.tree.Read("a") == "hello, world");
  CHECK(std::distance(fs::directory_iterator(f.tree.source()), {}) == 1);
}

TEST_CASE("CREATE opens what it makes", "[data]") {
  Served served;
  Answer answer = served.kernel.Create(kRoot, "n", O_RDWR, 0600);
  REQUIRE(answer.ok());
  auto out = answer.Get<abi::CreateOut>();
  CHECK(served.kernel.Write(out.entry.nodeid, out.open.fh, 0, "new").ok());
  CHECK(served.tree.Read("n") == "new");
  CHECK(ErrorOf(served.kernel.Create(kRoot, "n", O_RDWR | O_EXCL, 0600)) ==
        EEXIST);
  // What somebody made meanwhile is looked up again, and opened with the
  // kernel's checks.
  CHECK(ErrorOf(served.kernel.Create(kRoot, "n", O_RDWR | O_TRUNC, 0600)) ==
        ESTALE);
  CHECK(served.tree.Read("n") == "new");
  fs::create_directory(served.tree.Path("d"));
  CHECK(ErrorOf(served.kernel.Create(kRoot, "d", O_RDWR, 0600)) == ESTALE);
}

TEST_CASE("RELEASE ends an open file once", "[data]") {
  OpenedFile f;
  CHECK(f.kernel.Release(Opcode::kRelease, f.node, f.fh, 0).ok());
  CHECK(ErrorOf(f.kernel.Read(f.node, f.fh, 0, 10)) == EBADF);
  CHECK(ErrorOf(f.kernel.Release(Opcode::kRelease, f.node, f.fh, 0)) == EBADF);
  CHECK(ErrorOf(f.kernel.Write(f.node, f.fh, 0, "x")) == EBADF);
}

TEST_CASE("numbers that are no open file", "[data]") {
  OpenedFile f;
  for (uint64_t fh : UnknownFiles(f.fh)) {
    CAPTURE(fh);
    CHECK(ErrorOf(f.kernel.Read(f.node, fh, 0, 10)) == EBADF);
    CHECK(ErrorOf(f.kernel.Write(f.node, fh, 0, "x")) == EBADF);
    CHECK(ErrorOf(f.kernel.Release(Opcode::kRelease, f.node, fh, 0)) == EBADF);
    abi::FsyncIn fsync{};
    fsync.fh = fh;
    CHECK(ErrorOf(f.kernel.Call(Message(Opcode::kFsync, f.node).Put(fsync))) ==
          EBADF);
    abi::FlushIn flush{};
    flush.fh = fh;
    CHECK(ErrorOf(f.kernel.Call(Message(Opcode::kFlush, f.node).Put(flush))) ==
          EBADF);
    abi::FallocateIn fallocate{};
    fallocate.fh = fh;
    fallocate.length = 10;
    CHECK(ErrorOf(f.kernel.Call(
              Message(Opcode::kFallocate, f.node).Put(fallocate))) == EBADF);
    abi::LseekIn lseek{};
    lseek.fh = fh;
    lseek.whence = SEEK_DATA;
    CHECK(ErrorOf(f.kernel.Call(Message(Opcode::kLseek, f.node).Put(lseek))) ==
          EBADF);
    abi::CopyFileRangeIn copy{};
    copy.fh_in = fh;
    copy.fh_out = f.fh;
    copy.nodeid_out = f.node;
    copy.len = 4;
    CHECK(ErrorOf(f.kernel.Call(
              Message(Opcode::kCopyFileRange, f.node).Put(copy))) == EBADF);
    copy.fh_in = f.fh;
    copy.fh_out = fh;
    CHECK(ErrorOf(f.kernel.Call(
              Message(Opcode::kCopyFileRange64, f.node).Put(copy))) == EBADF);
  }
  // One of another node: what it says is not the server's secret, but nothing
  // may break.
  f.tree.Write("b", "other");
  uint64_t b = f.kernel.Node(kRoot, "b");
  f.kernel.Read(b, f.fh, 0, 10);
  f.kernel.Barrier();
}

TEST_CASE("an open file of a server before this one is opened again",
          "[data]") {
  OpenedFile f;
  uint64_t fh = FileOfBefore(f.fh);
  CHECK(f.kernel.Read(f.node, fh, 0, 100).payload == "hello, world");
  CHECK(f.kernel.Write(f.node, fh, 0, "HELLO").ok());
  CHECK(f.tree.Read("a") == "HELLO, world");
  CHECK(f.kernel.Release(Opcode::kRelease, f.node, fh, 0).ok());
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(f.kernel.Read(node, fh, 0, 100)) == ESTALE);
    CHECK(ErrorOf(f.kernel.Write(node, fh, 0, "x")) == ESTALE);
  }
  // Not by way of a link, and not what is no file.
  fs::create_symlink(f.tree.outside() / "secret", f.tree.Path("link"));
  CHECK_FALSE(f.kernel.Read(f.kernel.Node(kRoot, "link"), fh, 0, 100).ok());
  CHECK_FALSE(f.kernel.Read(kRoot, fh, 0, 100).ok());
}

TEST_CASE("FLUSH and FSYNC", "[data]") {
  OpenedFile f;
  REQUIRE(f.kernel.Write(f.node, f.fh, 0, "HELLO").ok());
  abi::FlushIn flush{};
  flush.fh = f.fh;
  flush.lock_owner = 7;
  CHECK(f.kernel.Call(Message(Opcode::kFlush, f.node).Put(flush)).ok());
  for (uint32_t flags : {0u, proto::kFsyncFdatasync, 0xffffffffu}) {
    abi::FsyncIn fsync{};
    fsync.fh = f.fh;
    fsync.fsync_flags = flags;
    CHECK(f.kernel.Call(Message(Opcode::kFsync, f.node).Put(fsync)).ok());
  }
}

TEST_CASE("FALLOCATE", "[data]") {
  OpenedFile f;
  auto call = [&](uint64_t offset, uint64_t length, uint32_t mode) {
    abi::FallocateIn in{};
    in.fh = f.fh;
    in.offset = offset;
    in.length = length;
    in.mode = mode;
    return ErrorOf(f.kernel.Call(Message(Opcode::kFallocate, f.node).Put(in)));
  };
  CHECK(call(0, 100, 0) == 0);
  CHECK(fs::file_size(f.tree.Path("a")) == 100);
  CHECK(call(0, 5, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) == 0);
  CHECK(f.tree.Read("a").substr(0, 6) == std::string("\0\0\0\0\0,", 6));
  CHECK(call(0, 0, 0) == EINVAL);
  CHECK(call(~uint64_t{0}, 10, 0) == EINVAL);
  CHECK(call(0, 10, 0xffff0000) != 0);
}

TEST_CASE("LSEEK finds data and holes", "[data]") {
  OpenedFile f;
  fs::resize_file(f.tree.Path("a"), 1 << 20);
  auto call = [&](uint64_t offset, uint32_t whence) {
    abi::LseekIn in{};
    in.fh = f.fh;
    in.offset = offset;
    in.whence = whence;
    return f.kernel.Call(Message(Opcode::kLseek, f.node).Put(in));
  };
  CHECK(call(0, SEEK_DATA).Get<abi::LseekOut>().offset == 0);
  Answer hole = call(0, SEEK_HOLE);
  REQUIRE(hole.ok());
  CHECK(hole.Get<abi::LseekOut>().offset >= 12);
  CHECK(hole.Get<abi::LseekOut>().offset <= (1 << 20));
  CHECK(ErrorOf(call(1 << 21, SEEK_DATA)) == ENXIO);
  CHECK_FALSE(call(0, 99).ok());
}

TEST_CASE("COPY_FILE_RANGE in both widths", "[data]") {
  OpenedFile f;
  f.tree.Write("b", "");
  uint64_t b = f.kernel.Node(kRoot, "b");
  uint64_t fh = f.kernel.OpenFh(b, O_RDWR);
  abi::CopyFileRangeIn in{};
  in.fh_in = f.fh;
  in.off_in = 7;
  in.nodeid_out = b;
  in.fh_out = fh;
  in.len = 100;
  Answer answer =
      f.kernel.Call(Message(Opcode::kCopyFileRange, f.node).Put(in));
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::WriteOut>().size == 5);
  CHECK(f.tree.Read("b") == "world");
  in.off_out = 5;
  answer = f.kernel.Call(Message(Opcode::kCopyFileRange64, f.node).Put(in));
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::CopyFileRangeOut>().bytes_copied == 5);
  CHECK(f.tree.Read("b") == "worldworld");
  in.flags = 0xff;
  CHECK(ErrorOf(f.kernel.Call(
            Message(Opcode::kCopyFileRange, f.node).Put(in))) == EINVAL);
  // A node that nobody knows, though its open file is known.
  in.flags = 0;
  in.nodeid_out = 77;
  f.kernel.Call(Message(Opcode::kCopyFileRange, f.node).Put(in));
  f.kernel.Barrier();
}

TEST_CASE("IOCTL answers ENOTTY to what it does not know", "[data]") {
  OpenedFile f;
  for (uint32_t cmd : {0u, 0x5401u, 0x541bu, 0x12345678u, 0xffffffffu}) {
    abi::IoctlIn in{};
    in.fh = f.fh;
    in.cmd = cmd;
    CAPTURE(cmd);
    CHECK(ErrorOf(f.kernel.Call(Message(Opcode::kIoctl, f.node).Put(in))) ==
          ENOTTY);
  }
  // Sizes that lie.
  abi::IoctlIn in{};
  in.fh = f.fh;
  in.cmd = FS_IOC_SETFLAGS;
  in.in_size = 4096;
  in.out_size = 0xffffffff;
  CHECK_FALSE(
      f.kernel.Call(Message(Opcode::kIoctl, f.node).Put(in).Data("abc")).ok());
}

TEST_CASE("IOCTL of file flags", "[data]") {
  OpenedFile f;
  abi::IoctlIn in{};
  in.fh = f.fh;
  in.cmd = FS_IOC_GETFLAGS;
  in.out_size = 4;
  Answer answer = f.kernel.Call(Message(Opcode::kIoctl, f.node).Put(in));
  if (!answer.ok()) {
    // The host's file system, or this server, has none.
    CHECK((answer.error == ENOTTY || answer.error == EOPNOTSUPP));
    return;
  }
  CHECK(answer.Get<abi::IoctlOut>().result == 0);
  CHECK(answer.payload.size() == sizeof(abi::IoctlOut) + 4);
}

TEST_CASE("ops that are left to the kernel", "[data]") {
  OpenedFile f;
  auto error = [&](const Message& message) {
    return ErrorOf(f.kernel.Call(message));
  };
  abi::PollIn poll{};
  poll.fh = f.fh;
  CHECK(error(Message(Opcode::kPoll, f.node).Put(poll)) == ENOSYS);
  CHECK(error(Message(Opcode::kBmap, f.node).Put(abi::BmapIn{})) == ENOSYS);
  CHECK(error(Message(Opcode::kSetupmapping, f.node)
                  .Put(abi::SetupmappingIn{})) == ENOSYS);
  CHECK(error(Message(Opcode::kRemovemapping, f.node)
                  .Put(abi::RemovemappingIn{})) == ENOSYS);
  CHECK(error(Message(Opcode::kCuseInit, 0).Put(abi::CuseInitIn{})) == ENOSYS);
}

}  // namespace
}  // namespace handlefs::test
